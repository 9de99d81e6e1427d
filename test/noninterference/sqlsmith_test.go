package noninterference

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var (
	sampled = regexp.MustCompile(`(?i)\btablesample\s+\w+\s*\([^()]*\)`)
	spaces  = regexp.MustCompile(`\s+`) // no literal of sqlsmith's has any
)

// TestSQLSmith runs what sqlsmith makes of the schema and of every function that
// the server has: CHAPERONE_FUZZ_SMITH (300) statements. Most of them are refused,
// for comparing what a mask destroys and for functions that do more than compute.
func TestSQLSmith(t *testing.T) {
	w := newTwins(t, openPostgres(t, 0), openPostgres(t, 1))
	program, err := exec.LookPath("sqlsmith")
	if err != nil {
		t.Fatal("sqlsmith is missing: install the package sqlsmith")
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	db := w.one.db
	target := fmt.Sprintf("host=%s port=%d user=%s password=%s dbname=%s", db.Host, db.Port, db.AdminUser, db.AdminPassword, db.Name)
	// --dry-run still reads the catalog, and prints statements instead of sending them.
	cmd := exec.CommandContext(ctx, program, "--target="+target, "--dry-run", "--exclude-catalog",
		fmt.Sprintf("--seed=%d", number(t, "CHAPERONE_FUZZ_SEED", 1)))
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stop(); _ = cmd.Wait() }()
	lines := bufio.NewScanner(pipe)
	lines.Buffer(nil, 10<<20)
	lines.Split(byStatement)
	found, goal := 0, number(t, "CHAPERONE_FUZZ_SMITH", 300)
	for w.counts.generated < goal && found < 10 && lines.Scan() {
		text := spaces.ReplaceAllString(strings.TrimSpace(lines.Text()), " ")
		first := strings.ToLower(text)
		if !strings.HasPrefix(first, "select") && !strings.HasPrefix(first, "with") && !strings.HasPrefix(first, "(select") {
			continue
		}
		if w.counts.generated%8 != 0 { // it samples most tables, which one with protected columns does not allow
			text = sampled.ReplaceAllString(text, "")
		}
		problem, err := w.try(ctx, text, nil)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if problem != "" {
			found++
			t.Errorf("%s\n%s", text, problem)
		}
	}
	t.Log(w.counts.String())
	if w.counts.generated < goal {
		t.Errorf("sqlsmith made only %d statements", w.counts.generated)
	}
}

// byStatement splits at semicolons that end a line.
func byStatement(data []byte, atEOF bool) (int, []byte, error) {
	if i := strings.Index(string(data), ";\n"); i >= 0 {
		return i + 2, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}
