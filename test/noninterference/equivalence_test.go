package noninterference

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/test/noninterference/grammar"
)

// Statements that make every protected value of a database equal to its mask.
var (
	postgresMasked = []string{
		"ALTER TABLE patients DROP CONSTRAINT patients_mrn_key",
		`UPDATE patients SET mrn = '[redacted]', first_name = '[redacted]', last_name = '[redacted]', address = '[redacted]',
			ssn = CASE WHEN ssn IS NOT NULL THEN '[redacted]' END, phone = CASE WHEN phone IS NOT NULL THEN '[redacted]' END,
			email = CASE WHEN email IS NOT NULL THEN '[redacted]' END, insurance_id = CASE WHEN insurance_id IS NOT NULL THEN '[redacted]' END,
			zip = CASE WHEN zip IS NOT NULL THEN '000' END,
			dob = CASE WHEN dob < '1936-11-25' THEN '1936-01-01' ELSE date_trunc('year', dob)::date END`,
		`UPDATE encounters SET admitted_at = date_trunc('year', admitted_at, 'UTC'), discharged_at = date_trunc('year', discharged_at, 'UTC'),
			notes = CASE WHEN notes IS NOT NULL THEN '[redacted]' END`,
		"UPDATE claims SET member_id = '[redacted]' WHERE member_id IS NOT NULL",
		"ALTER TABLE labs DROP COLUMN shout",
		"UPDATE labs SET doc = NULL, tags = NULL, score = NULL, taken = date_trunc('year', taken)::date, comment = '[redacted]', ip = NULL, raw = NULL",
		"UPDATE visits SET day = date_trunc('year', day)::date",
	}
	mysqlMasked = []string{
		"ALTER TABLE patients DROP INDEX mrn",
		`UPDATE patients SET mrn = '[redacted]', first_name = '[redacted]', last_name = '[redacted]', address = '[redacted]',
			ssn = IF(ssn IS NOT NULL, '[redacted]', NULL), phone = IF(phone IS NOT NULL, '[redacted]', NULL),
			email = IF(email IS NOT NULL, '[redacted]', NULL), insurance_id = IF(insurance_id IS NOT NULL, '[redacted]', NULL),
			zip = IF(zip IS NOT NULL, '000', NULL), dob = IF(dob <= '1936-11-24', '1936-01-01', CONCAT(YEAR(dob), '-01-01'))`,
		`UPDATE encounters SET admitted_at = CONCAT(YEAR(admitted_at), '-01-01'), discharged_at = CONCAT(YEAR(discharged_at), '-01-01'),
			notes = IF(notes IS NOT NULL, '[redacted]', NULL)`,
		"UPDATE claims SET member_id = '[redacted]' WHERE member_id IS NOT NULL",
		"ALTER TABLE labs DROP COLUMN shout",
		"UPDATE labs SET doc = NULL, tags = '[redacted]', score = NULL, taken = CONCAT(YEAR(taken), '-01-01'), comment = '[redacted]', ip = '[redacted]', raw = NULL",
		"UPDATE visits SET day = CONCAT(YEAR(day), '-01-01')",
	}
)

// plainTables are tables without expressions over protected columns, which are
// not evaluated.
func plainTables(d grammar.Dialect) []grammar.Table {
	var out []grammar.Table
	for _, t := range tables(d) {
		if t.Name == "people" || t.Name == "stays" {
			continue
		}
		var columns []grammar.Column
		for _, c := range t.Columns {
			if c.Name != "shout" && c.Type != grammar.JSON {
				columns = append(columns, c)
			}
		}
		t.Columns = columns
		out = append(out, t)
	}
	return out
}

// TestEquivalencePostgres and TestEquivalenceMariaDB: where every protected
// value already is its mask, the rewritten statement answers what the client's
// own text does: the rewriting changes nothing else. CHAPERONE_FUZZ_EQUIVALENCE
// (1,500) statements are compared.
func TestEquivalencePostgres(t *testing.T) {
	equivalence(t, openPostgres(t, 0, postgresMasked...), grammar.Postgres)
}

func TestEquivalenceMariaDB(t *testing.T) {
	equivalence(t, openMariaDB(t, 0, mysqlMasked...), grammar.MySQL)
}

func equivalence(t *testing.T, c *clinic, d grammar.Dialect) {
	t.Helper()
	ctx := t.Context()
	g := grammar.New(d, plainTables(d), uint64(number(t, "CHAPERONE_FUZZ_SEED", 1))) //nolint:gosec // a seed
	goal, same, refused, generated, bad, stricter, folded, shared, reordered :=
		number(t, "CHAPERONE_FUZZ_EQUIVALENCE", 1500), 0, 0, 0, 0, 0, 0, 0, 0
	started := time.Now()
	for same < goal && bad < 10 {
		one := g.Next()
		generated++
		st, err := c.engine.Analyze(c.cat, c.input(one.Text, len(one.Params)))
		if err != nil {
			refused++
			continue
		}
		if volatile(st) || len(st.Lookups) > 0 {
			continue
		}
		own := *st
		own.Text, own.Stamps = one.Text, nil
		want, err := c.own(ctx, &own, one.Params)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := c.run(ctx, st, one.Params, rowLimit)
		if err != nil {
			t.Fatal(err)
		}
		if d == grammar.MySQL { // a mask may be of a narrower type of the same family
			want.types, got.types = families(want.types), families(got.types)
		}
		switch {
		case slow(want) || slow(got):
		case want.failed != nil && got.failed != nil:
			same++
		case got.bag() == want.bag():
			same++
		case got.truncated && want.truncated: // equals may come in any order
		case want.failed == nil && got.failed != nil && got.failed.SQLState == "42803":
			stricter++ // said in the limitations: a key does not stand for the others everywhere
		case want.failed == nil && got.failed != nil && c.unplanned(ctx, st, one.Params):
			folded++ // said there too: a mask that is one constant is computed with before a row is read
		case collects.MatchString(one.Text) && got.failed == nil && want.failed == nil && anagram(got) == anagram(want):
			reordered++ // what is collected comes in any order among equals
		case d == grammar.MySQL && c.unmerged(t, st.Text, arguments(st, one.Params, anyParam)) == c.unmerged(t, one.Text, arguments(&own, one.Params, anyParam)):
			shared++ // said there too: an expression that the server merged twice shares a buffer
		default:
			bad++
			t.Errorf("%s\n%q\nruns as\n%s\n%s", one.Text, one.Params, st.Text, difference(got.bag(), want.bag()))
		}
	}
	t.Logf("%d statements in %v: %d alike, %d refused, %d that the server takes only as the client wrote them, %d that fail as they are planned, "+
		"%d that collect equals in another order, %d that the server computes wrongly where it merges the masks", generated,
		time.Since(started).Round(time.Second), same, refused, stricter, folded, reordered, shared)
	if stricter*200 > same || (folded+shared+reordered)*500 > same {
		t.Errorf("%d statements are no longer taken, %d are not planned, %d in another order, %d wrong where merged", stricter, folded, reordered, shared)
	}
}

// collects are aggregates that put values one after another.
var collects = regexp.MustCompile(`(?i)\b(group_concat|string_agg|array_agg|jsonb?_agg|json_arrayagg)\b`)

// anagram is an answer without the order of anything in it.
func anagram(a *answer) string {
	text := []byte(a.bag())
	slices.Sort(text)
	return string(text)
}

// unmerged is what a statement of MariaDB answers where derived tables are made
// before they are read, so that each value of them is computed once.
func (c *clinic) unmerged(t *testing.T, text string, args []any) string {
	t.Helper()
	db, err := c.db.OpenMySQL()
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(t.Context(), "SET optimizer_switch = 'derived_merge=off'"); err != nil {
		t.Fatal(err)
	}
	rows, err := db.QueryContext(t.Context(), text, args...)
	if err != nil {
		return text + ": " + err.Error() // like no other
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for rows.Next() {
		cells := make([]sql.RawBytes, len(columns))
		into := make([]any, len(columns))
		for i := range cells {
			into[i] = &cells[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%q", cells))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// unplanned reports whether a statement fails before a row of it is read.
func (c *clinic) unplanned(ctx context.Context, st *connectors.Statement, params []string) bool {
	_, err := c.plan(ctx, st, params)
	return err != nil
}

// difference is the first line that is not the same.
func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			return fmt.Sprintf("of %d rows, %d expected, one is\n%s\ninstead of\n%s", len(g)-1, len(w)-1, g[i], append(w, "nothing")[min(i, len(w))])
		}
	}
	return fmt.Sprintf("%d rows instead of %d", len(g)-1, len(w)-1)
}

// families leaves of MariaDB's types what an answer's values look like.
func families(types []string) []string {
	for i, t := range types {
		_, typ, _ := strings.Cut(t, " ") // the gateway gives its own names
		switch typ {
		case "char", "tinytext", "text", "mediumtext", "longtext", "blob":
			typ = "varchar"
		case "double":
			typ = "decimal"
		case "tinyint", "smallint", "mediumint", "int":
			typ = "bigint"
		}
		types[i] = typ
	}
	return types
}

func volatile(st *connectors.Statement) bool {
	for _, f := range st.Functions {
		if f.Volatility == connectors.Volatile {
			return true
		}
	}
	return false
}

func slow(a *answer) bool {
	return a.failed != nil && (a.failed.Kind == connectors.KindTimeout || a.failed.Kind == connectors.KindUnavailable)
}

// own runs the client's own text, without a witness.
func (c *clinic) own(ctx context.Context, st *connectors.Statement, params []string) (*answer, error) {
	a := &answer{limit: rowLimit}
	_, err := c.session.Prepare(ctx, st, arguments(st, params, textParam), limits)
	if err == nil {
		_, err = c.session.Execute(ctx, a)
	}
	if err != nil {
		if !errors.As(err, &a.failed) {
			return nil, fmt.Errorf("%s: %w", strings.TrimSpace(st.Text), err)
		}
		a.rows = nil
		return a, c.connect(ctx)
	}
	return a, nil
}
