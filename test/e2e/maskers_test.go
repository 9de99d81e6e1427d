package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"
)

// ownClasses are classes that a user adds, one for each way to do it.
const ownClasses = `classes: {
  phone: {mask: partial, last: 4},
  badge: {mask: token},
  surname: {mask: expression, postgres: "left($value, 1) || repeat('*', char_length($value) - 1)",
    mysql: "concat(left($value, 1), repeat('*', char_length($value) - 1))"},
  city: {mask: cel, cel: "value.size() < 3 ? '?' : value.substring(0, 3)"},
  visit: {mask: date_shift, days: 30},
  note: {mask: free_text_scan}}`

// TestMaskersOfConfiguration: masks that a user configured, through the gateway,
// with the key of tokens and shifts in Vault.
func TestMaskersOfConfiguration(t *testing.T) {
	g := freshGateway(t, false, false)
	g.stop()
	keyInVault(t, g.env.servers.Vault.Client)
	columns := map[string]string{"id": "none", "patient": "person", "surname": "surname", "phone": "phone", "badge": "badge", "city": "city",
		"seen": "visit", "seen_at": "visit", "stamped": "visit", "note": "note"}
	text := string(read(t, g.config))
	start := strings.Index(text, "masking: {token_key: {file: ")
	end := start + strings.Index(text[start:], "}")
	text = text[:start] + "masking: {" + ownClasses + ", token_key: {vault: \"secret/chaperone#token_key\"" + text[end:]
	for connection, prefix := range map[string]string{"clinic": "public.", "billing": ""} {
		at := strings.Index(text, "  "+connection+":\n")
		at += strings.Index(text[at:], "    columns:\n") + len("    columns:\n")
		for column, class := range columns {
			text = text[:at] + fmt.Sprintf("      %smaskings.%s: %s\n", prefix, column, class) + text[at:]
		}
	}
	if err := os.WriteFile(g.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, connection := range []string{"clinic", "billing"} {
		stamp := map[string]string{"clinic": "timestamptz", "billing": "datetime(3)"}[connection]
		g.env.exec(t, connection, "CREATE TABLE maskings (id int PRIMARY KEY, patient int, surname varchar(40), phone varchar(40), "+
			"badge varchar(40), city varchar(40), seen date, seen_at timestamp NULL, stamped "+stamp+", note text)")
		g.env.exec(t, connection, "GRANT SELECT ON maskings TO chaperone_ro")
		g.env.exec(t, connection, "INSERT INTO maskings VALUES "+
			"(1, 17, 'Johnson', '212-555-0143', 'B-1234567', 'Boston', '1985-07-01', '2020-03-04 10:20:30', '2020-03-14 01:02:03.5', 'Well. SSN 123-45-6789.'), "+
			"(2, 17, 'Li', '212-555-0199', 'B-1234567', 'Y', '1985-07-11', '2020-03-05 11:00:00', '2020-03-14 01:02:03.5', 'No fever.'), "+
			"(3, NULL, 'Smith', '12', 'B-7654321', NULL, '1985-07-01', '2020-03-04 10:20:30', '2020-03-14 01:02:03.5', NULL), "+
			"(4, 18, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)")
		defer g.env.exec(t, connection, "DROP TABLE maskings")
	}
	if err := g.start(); err != nil {
		t.Fatal(err)
	}
	tokens := map[string]string{}
	for _, connection := range []string{"clinic", "billing"} {
		t.Run(connection, func(t *testing.T) { tokens[connection] = ownMasks(t, g, connection) })
	}
	if tokens["clinic"] != tokens["billing"] {
		t.Errorf("two engines make different masks of the same values:\n%s\n%s", tokens["clinic"], tokens["billing"])
	}
}

// ownMasks looks at the rows of one engine, and gives what must be the same on
// the other: tokens and shifted dates.
func ownMasks(t *testing.T, g *gatewayProcess, connection string) string {
	a := must(t, g.query(t, ask(connection, "SELECT * FROM maskings WHERE id < 10 ORDER BY id")), 200)
	rows := a.rows()
	if len(rows) != 4 {
		t.Fatalf("%s", a.raw)
	}
	for i, want := range [][]any{
		{"J******", "********0143", "Bos", "Well. SSN [redacted:ssn]."},
		{"L*", "********0199", "?", "No fever."},
		{"S****", "**", nil, nil},
		{nil, nil, nil, nil},
	} {
		if got := []any{rows[i][2], rows[i][3], rows[i][5], rows[i][9]}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("row %d is %v, want %v", i+1, got, want)
		}
	}
	day := func(row, column int, layout string) time.Time {
		at, err := time.Parse(layout, fmt.Sprint(rows[row][column]))
		if err != nil {
			t.Fatalf("row %d: %v", row+1, err)
		}
		return at
	}
	one, two := day(0, 6, time.DateOnly), day(1, 6, time.DateOnly)
	shift := one.Sub(time.Date(1985, 7, 1, 0, 0, 0, 0, time.UTC))
	if shift == 0 || shift.Abs() > 30*24*time.Hour || two.Sub(one) != 10*24*time.Hour {
		t.Errorf("1985-07-01 and 1985-07-11 became %s and %s", one, two)
	}
	zone := map[string][2]string{"clinic": {"", "Z"}, "billing": {"Z", ""}}[connection] // of timestamp; of timestamptz and datetime
	if at := day(0, 7, "2006-01-02T15:04:05"+zone[0]); !at.Equal(time.Date(2020, 3, 4, 10, 20, 30, 0, time.UTC).Add(shift)) {
		t.Errorf("a timestamp of the same person became %s, moved otherwise than by %s", at, shift)
	}
	if at := day(0, 8, "2006-01-02T15:04:05"+zone[1]); !at.Equal(time.Date(2020, 3, 14, 1, 2, 3, 5e8, time.UTC).Add(shift)) {
		t.Errorf("a moment of the same person became %s, moved otherwise than by %s", at, shift)
	}
	for row := 2; row < 4; row++ { // no person; no date
		for column := 6; column < 9; column++ {
			if rows[row][column] != nil {
				t.Errorf("row %d has the date %v", row+1, rows[row][column])
			}
		}
	}
	if rows[0][4] != rows[1][4] || rows[0][4] == rows[2][4] || rows[3][4] != nil {
		t.Errorf("tokens %v, %v, %v, %v", rows[0][4], rows[1][4], rows[2][4], rows[3][4])
	}
	// Where they are no plain output, they are redacted.
	a = must(t, g.query(t, ask(connection, "SELECT max(seen), min(seen_at), max(note), max(badge), max(city) FROM maskings WHERE id = 1")), 200)
	if got := fmt.Sprint(a.rows()[0][:2]); got != "[<nil> <nil>]" {
		t.Errorf("in an expression the dates are %s", got)
	}
	for _, statement := range []string{
		"SELECT x.seen, x.note FROM (SELECT seen, note FROM maskings WHERE id = 1) x", "SELECT coalesce(note, 'x'), seen FROM maskings WHERE id = 1",
		"SELECT note, seen, badge, city FROM maskings WHERE id = 1 UNION ALL SELECT note, seen, badge, city FROM maskings WHERE id = 2",
		"SELECT a.seen, b.seen, a.note FROM maskings a JOIN maskings b ON a.patient = b.patient WHERE a.id = 1 ORDER BY a.seen, a.id",
		"SELECT id, seen FROM maskings WHERE id < 10 GROUP BY id, seen", "SELECT DISTINCT id, seen, city FROM maskings WHERE id < 10",
	} {
		a := g.query(t, ask(connection, statement))
		if a.status >= 500 {
			t.Errorf("%s: %d %s", statement, a.status, a.raw)
		}
		for _, raw := range []string{"1985-07-01", "1985-07-11", "Johnson", "6789", "B-1234567", "Boston", "|17"} {
			if strings.Contains(string(a.raw), raw) {
				t.Errorf("%s leaks %s: %s", statement, raw, a.raw)
			}
		}
	}
	return fmt.Sprint(rows[0][4], rows[2][4], rows[0][6], rows[1][6])
}

// keyInVault puts the key of tokens into Vault, and lets the gateway read it.
func keyInVault(t *testing.T, open func() (*vault.Client, error)) {
	t.Helper()
	client, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Sys().Mount("secret", &vault.MountInput{Type: "kv"}); err != nil {
		t.Fatal(err)
	}
	if err := client.Sys().PutPolicy("tokens", `path "secret/chaperone" { capabilities = ["read"] }`); err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string]map[string]any{
		"auth/approle/role/chaperone/policies": {"token_policies": "chaperone,tokens"},
		"secret/chaperone":                     {"token_key": strings.Repeat("0123456789abcdef", 2)},
	} {
		if _, err := client.Logical().Write(path, data); err != nil {
			t.Fatal(err)
		}
	}
}
