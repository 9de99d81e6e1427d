package noninterference

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/connectors/mysql"
	"github.com/chaperone-sql/chaperone/connectors/postgres"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/policy"
)

// What the grammar does not reach: masks that the gateway makes, lookups, and
// writes. The statements are in testdata, one a line; {mrn 7} is the number that
// row 7 has on the twin at hand. In place of the gateway's masks stands which
// row first has the value, so that answers are alike if and only if nothing but
// the mask was seen.

// gatewayTwin is one of two databases that differ in protected values only.
type gatewayTwin struct {
	clinic
	sql    *sql.DB
	values map[string]string // of what the gateway masks: the row that first has it
	mrn    map[string]string
}

const gatewayRows = 24

// secret is a value of a variant, of another length and order than the other's.
func secret(variant, n int) string {
	sum := sha256.Sum256([]byte(fmt.Sprint(variant, n)))
	return hex.EncodeToString(sum[:3+(n*(variant+1))%5])
}

func openGatewayTwin(t *testing.T, engine string, variant int) *gatewayTwin {
	t.Helper()
	w := &gatewayTwin{values: map[string]string{}, mrn: map[string]string{}}
	var (
		server *testenv.Database
		err    error
		schema = "public"
		path   = []string{"public"}
	)
	if engine == "postgres" {
		server = testenv.Postgres(t)
		w.engine = postgres.New()
		w.sql, err = sql.Open("pgx", server.DSN)
	} else {
		server = testenv.MariaDB(t)
		w.engine, schema, path = mysql.New(), server.Name, nil
		w.sql, err = server.OpenMySQL()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.sql.Close() })
	exec := func(text string, args ...any) {
		t.Helper()
		if _, err := w.sql.ExecContext(t.Context(), text, args...); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	text := map[string]string{"postgres": "text", "mysql": "varchar(200)"}[engine]
	exec(strings.ReplaceAll(`CREATE TABLE g (id int PRIMARY KEY, person int, grp TEXT, tok varchar(60), tokn int, city TEXT, seen date,
		seen_at timestamp NULL, note TEXT, mrn varchar(60) UNIQUE, ssn varchar(60) NOT NULL)`, "TEXT", text))
	exec(strings.ReplaceAll("CREATE TABLE h (id int PRIMARY KEY, g_id int, tok varchar(60), kind TEXT, mrn varchar(60))", "TEXT", text))
	exec(strings.ReplaceAll("CREATE TABLE o (id int PRIMARY KEY, n int, label TEXT, tok varchar(60))", "TEXT", text))
	for _, s := range []string{"CREATE INDEX g_tok ON g (tok)", "CREATE INDEX g_tokn ON g (tokn, id)", "CREATE INDEX h_tok ON h (tok, kind)", "CREATE INDEX h_mrn ON h (mrn)",
		"CREATE VIEW gv AS SELECT id, person, tok AS token, seen, city, note, upper(tok) AS shout, mrn FROM g",
		"CREATE VIEW gw AS SELECT g.id, g.tok, h.tok AS other, h.kind FROM g JOIN h ON h.g_id = g.id"} {
		exec(s)
	}
	if engine == "postgres" {
		for _, s := range extraPostgres {
			exec(s)
		}
	} else {
		for _, s := range extraMariaDB {
			exec(s)
		}
	}
	for id := 1; id <= gatewayRows; id++ {
		person := 1 + id%9
		var tok any = secret(variant, person)
		if id%11 == 0 {
			tok = nil
		}
		number := (person*7919 + variant*104729) % 9973
		if variant == 1 {
			number = 9973 - number
		}
		city := string(rune('A'+id%5)) + secret(variant, 100+id%7)
		seen := time.Date(2020, time.Month(1+(id*(3+variant))%12), 1+(id*(5+2*variant))%28, 0, 0, 0, 0, time.UTC)
		mrn := "M" + secret(variant, 200+id)
		q := func(v any) string {
			if v == nil {
				return "NULL"
			}
			return fmt.Sprintf("'%v'", v)
		}
		exec(fmt.Sprintf("INSERT INTO g (id, person, grp, tok, tokn, city, seen, seen_at, note, mrn, ssn) VALUES (%d, %d, 'w%d', %s, %d, %s, %s, %s, %s, %s, %s)", id, person, id%3, q(tok), number, q(city),
			q(seen.Format("2006-01-02")), q(seen.Format("2006-01-02")+fmt.Sprintf(" %02d:00:00", (id*(7+variant))%24)), q("note "+secret(variant, 300+id)), q(mrn), q(secret(variant, 400+id))))
		exec(fmt.Sprintf("INSERT INTO h VALUES (%d, %d, %s, 'k%d', %s)", id, 1+(id*5)%gatewayRows, q(tok), id%4, q(mrn)))
		exec(fmt.Sprintf("INSERT INTO o VALUES (%d, %d, 'l%d', %s)", id, id%6, id%7, q(secret(9, id))))
		if engine == "mysql" { // who has which of two values differs
			exec(fmt.Sprintf("INSERT INTO w VALUES (%d, 'ssn%d', 0, 'word%d')", id, (id+variant)%2, (id+variant)%2))
		}
		exec(fmt.Sprintf("INSERT INTO dflt (id, ssn) VALUES (%d, %s)", id, q(secret(variant, 400+id))))
		w.mrn[fmt.Sprint(id)] = mrn
		first := func(name string, v any) {
			key := fmt.Sprint(v)
			if v == nil {
				return
			}
			if _, has := w.values[key]; !has {
				w.values[key] = fmt.Sprintf("%s#%d", name, id)
			}
		}
		first("tok", tok)
		first("tokn", number)
		first("city", city)
		first("note", "note "+secret(variant, 300+id))
		for _, suffix := range []string{"|", "+00|"} {
			first("seen", seen.Format("2006-01-02")+suffix+fmt.Sprint(person))
			first("seen_at", fmt.Sprintf("%s %02d:00:00%s%d", seen.Format("2006-01-02"), (id*(7+variant))%24, suffix, person))
		}
	}
	if engine == "postgres" {
		for _, s := range fillPostgres {
			exec(s)
		}
		exec("INSERT INTO wide SELECT n, md5(n::text || $1), repeat('x', 700) FROM generate_series(1, 1000) n", fmt.Sprint(variant))
		exec("INSERT INTO within SELECT id, id % 2, ssn, pad FROM wide")
		exec("INSERT INTO upper SELECT id, ssn, pad FROM wide")
		exec("VACUUM ANALYZE")
	} else {
		exec("ANALYZE TABLE g, h, o")
	}
	profile := masking.HIPAASafeHarbor()
	for _, c := range []masking.Class{{Name: "city", Mask: masking.Mask{Kind: masking.CEL, CEL: "value.substring(0, 1)"}},
		{Name: "visit", Mask: masking.Mask{Kind: masking.DateShift, Days: 30}}, {Name: "scan", Mask: masking.Mask{Kind: masking.FreeTextScan}}} {
		if err := profile.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	columns := map[masking.ColumnRef]string{}
	for name, class := range map[string]string{"g.person": "person", "g.tok": "pseudonym", "g.tokn": "pseudonym", "g.city": "city", "g.seen": "visit",
		"g.seen_at": "visit", "g.note": "scan", "g.mrn": "mrn", "g.ssn": "ssn", "h.tok": "pseudonym", "h.mrn": "mrn", "w.ssn": "ssn", "w.body": "free_text", "dflt.ssn": "ssn", "dflt.label": "none", "dflt.copy": "other_id", "lengthy.ssn": "ssn",
		"wide.ssn": "ssn", "within.ssn": "ssn", "upper.ssn": "ssn",
		"Mixed.Ssn": "ssn", "Mixed.ssn": "ssn", "Mixed.größe": "ssn", "Mixed.ssn ": "ssn", "Mixed.s\"n": "ssn"} {
		table, column, _ := strings.Cut(name, ".")
		columns[masking.ColumnRef{Schema: schema, Relation: table, Column: column}] = class
	}
	if w.classes, err = masking.Classify(profile, columns); err != nil {
		t.Fatal(err)
	}
	w.target = connectors.Target{Host: server.Host, Port: server.Port, Database: server.Name, SearchPath: path, ConnectTimeout: 10 * time.Second}
	w.cred = connectors.Credential{Username: server.AdminUser, Password: masking.Secret(server.AdminPassword)}
	if err := w.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.session.Close(context.Background()) })
	if w.cat, err = w.session.Catalog(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

var extraPostgres = []string{
	"CREATE TABLE past (id int PRIMARY KEY, was g, several g[])",
	"CREATE TYPE wrap AS (n int, row g)", "CREATE DOMAIN gdom AS g",
	"CREATE TABLE nested (id int PRIMARY KEY, w wrap, ws wrap[], d gdom, ds gdom[])",
	"CREATE VIEW rowview AS SELECT id, g AS whole FROM g",
	"CREATE MATERIALIZED VIEW gm AS SELECT id, tok, g AS whole FROM g",
	"CREATE TABLE gen (id int PRIMARY KEY, tok text, up text GENERATED ALWAYS AS (upper(tok)) STORED)",
	"CREATE TABLE dflt (id int PRIMARY KEY, ssn text, copy text, label text)",
	"CREATE TABLE lengthy (id int PRIMARY KEY, ssn text)", "ALTER TABLE lengthy ALTER ssn SET STORAGE EXTERNAL",
	"CREATE TABLE wide (id int, ssn text, pad text)", "CREATE INDEX wide_ssn ON wide (ssn, id)", // so wide that an index is read for the id
	"CREATE VIEW widev AS SELECT id, ssn FROM wide", "CREATE VIEW widen AS SELECT id FROM wide", "CREATE VIEW widenn AS SELECT id FROM widen",
	"CREATE TABLE within (id int, grp int, ssn text, pad text)", "CREATE INDEX within_ssn ON within (grp, ssn, id)",
	`CREATE TABLE "Mixed" (id int, "Ssn" text, ssn text, "größe" text, "ssn " text, "s""n" text)`,
	"CREATE VIEW vunion AS SELECT id, ssn AS k, 1 AS n FROM g UNION ALL SELECT id, label, n FROM o UNION SELECT id, kind, length(mrn) FROM h",
	"CREATE VIEW vexpr AS SELECT id, CASE WHEN ssn > '8' THEN 'a' ELSE 'b' END AS c, coalesce(ssn, grp) AS co, greatest(person, length(ssn)) AS g, (SELECT max(label) FROM o WHERE o.tok < g.ssn) AS sub, ARRAY[ssn] AS arr, ROW(ssn)::text AS r, ssn > '8' AS cmp, nullif(grp, ssn) AS nu, to_jsonb(g) AS js, g IS NULL AS isn, (g).grp AS fld, grp FROM g",
	"CREATE VIEW vof AS SELECT v.id, v.c, v.grp, length(v.co) AS l FROM vexpr v",
	"CREATE VIEW vwin AS SELECT id, sum(id) OVER (ORDER BY ssn ROWS 1 PRECEDING) AS s, lag(grp) OVER (PARTITION BY ssn) AS l, first_value(id) OVER (ORDER BY tok, ssn) AS f FROM g",
	"CREATE VIEW vagg AS SELECT grp, string_agg(id::text, ',' ORDER BY ssn) AS s, max(ssn) AS m, count(DISTINCT ssn) AS c, bool_or(ssn > '8') AS b, (array_agg(id ORDER BY ssn))[1] AS f FROM g GROUP BY grp",
	"CREATE VIEW ranked AS SELECT id, row_number() OVER w AS n, count(*) OVER (w ROWS 1 PRECEDING) AS m FROM g WINDOW w AS (ORDER BY ssn)",
	"CREATE VIEW ranked2 AS SELECT id, row_number() OVER w2 AS n FROM g WINDOW w AS (PARTITION BY tok), w2 AS (w ORDER BY id)",
	"CREATE VIEW outer1 AS SELECT o.id, x.label FROM o LEFT JOIN g ON g.id = o.id LEFT JOIN o x ON x.id = o.id AND g.ssn > '8'",
	"CREATE VIEW outer2 AS SELECT o.id, x.one FROM o LEFT JOIN (SELECT g.id, 1 AS one FROM g WHERE g.ssn > '8') x ON x.id = o.id",
	"CREATE VIEW outer3 AS WITH x AS (SELECT g.id, 1 AS one FROM g WHERE g.ssn > '8') SELECT o.id, x.one FROM x RIGHT JOIN o ON x.id = o.id",
	"CREATE VIEW high AS SELECT id FROM g WHERE ssn > '8'",
	"CREATE VIEW outer4 AS SELECT o.id, high.id AS high FROM o LEFT JOIN high ON high.id = o.id",
	"CREATE VIEW outer5 AS SELECT o.id, x.one FROM o FULL JOIN (SELECT max(id) AS id, 1 AS one FROM g GROUP BY person HAVING max(ssn) > '8') x USING (id)",
	"CREATE VIEW outer6 AS SELECT o.id, x.one FROM o LEFT JOIN LATERAL (SELECT 1 AS one FROM g WHERE g.id = o.id AND ssn > '8') x ON true",
	"CREATE VIEW outer7 AS SELECT o.id, x.id AS one FROM o LEFT JOIN (SELECT id FROM g EXCEPT SELECT id FROM g WHERE ssn > '8') x ON x.id = o.id",
	"CREATE VIEW outer8 AS SELECT o.id, x.id AS one FROM o LEFT JOIN (SELECT id FROM g ORDER BY ssn LIMIT 5) x ON x.id = o.id",
	"CREATE VIEW lateral1 AS SELECT o.id, x.n FROM o, LATERAL (SELECT count(*) AS n FROM g WHERE g.id = o.id AND g.ssn > '8') x",
	"CREATE VIEW lengths AS SELECT g.id, max(n) AS n FROM g, unnest(string_to_array(ssn, NULL)) WITH ORDINALITY t(c, n) GROUP BY g.id",
	"CREATE VIEW inner1 AS SELECT o.id, EXISTS (SELECT FROM high WHERE high.id = o.id) AS yes, o.id IN (SELECT id FROM high) AS too FROM o",
	"CREATE VIEW inner2 AS WITH x AS (SELECT id FROM g WHERE ssn > '8') SELECT o.id, EXISTS (SELECT FROM x WHERE x.id = o.id) AS yes FROM o",
	"CREATE VIEW filt AS SELECT grp, count(*) FILTER (WHERE ssn > '8') AS n, array_agg(id ORDER BY ssn) AS ids, percentile_disc(0.5) WITHIN GROUP (ORDER BY ssn) AS med FROM g GROUP BY grp",
	"CREATE VIEW x1 AS SELECT g.id, max(u.n) AS n FROM g, unnest(string_to_array(g.ssn, '7')) WITH ORDINALITY u(part, n) GROUP BY g.id",
	"CREATE VIEW x2 AS SELECT g.id, min(coalesce(u.n, 0)) AS n FROM g, ROWS FROM (regexp_split_to_table(g.ssn, '7'), generate_series(1, 1)) u(part, n) GROUP BY g.id",
	"CREATE VIEW x3 AS SELECT g.id, x.a FROM g LEFT JOIN XMLTABLE(XMLNAMESPACES(left(g.ssn, 1) AS y), '/r/y:a' PASSING XMLPARSE(DOCUMENT '<r xmlns:q=\"7\"><q:a>1</q:a></r>') COLUMNS a int PATH '.') x ON true",
	"CREATE TABLE upper (id int, ssn text, pad text)", "CREATE INDEX upper_ssn ON upper (upper(ssn), id)",
}

var fillPostgres = []string{
	"INSERT INTO past SELECT id, g, ARRAY[g] FROM g",
	"INSERT INTO nested SELECT id, ROW(id, g)::wrap, ARRAY[ROW(id, g)::wrap], g::gdom, ARRAY[g::gdom] FROM g",
	"INSERT INTO \"Mixed\" SELECT id, ssn, ssn, ssn, ssn, ssn FROM g",
	"REFRESH MATERIALIZED VIEW gm", "INSERT INTO lengthy SELECT id, repeat(ssn, 100 * ascii(ssn)) FROM g",
}

var extraMariaDB = []string{
	"CREATE TABLE dflt (id int PRIMARY KEY, ssn varchar(60), copy varchar(200) DEFAULT (concat(ssn, '!')), label varchar(200))",
	"CREATE VIEW ranked AS SELECT id, row_number() OVER w AS n FROM g WINDOW w AS (ORDER BY ssn)",
	"CREATE VIEW ranked2 AS SELECT id, row_number() OVER w2 AS n FROM g WINDOW w AS (PARTITION BY tok), w2 AS (w ORDER BY id)",
	"CREATE VIEW outer1 AS SELECT o.id, x.label FROM o LEFT JOIN g ON g.id = o.id LEFT JOIN o x ON x.id = o.id AND g.ssn > '8'",
	"CREATE VIEW outer2 AS SELECT o.id, x.one FROM o LEFT JOIN (SELECT g.id, 1 AS one FROM g WHERE g.ssn > '8') x ON x.id = o.id",
	"CREATE VIEW outer3 AS WITH x AS (SELECT g.id, 1 AS one FROM g WHERE g.ssn > '8') SELECT o.id, x.one FROM x RIGHT JOIN o ON x.id = o.id",
	"CREATE VIEW high AS SELECT id FROM g WHERE ssn > '8'",
	"CREATE VIEW outer4 AS SELECT o.id, high.id AS high FROM o LEFT JOIN high ON high.id = o.id",
	"CREATE VIEW outer7 AS SELECT o.id, x.id AS one FROM o LEFT JOIN (SELECT id FROM g EXCEPT SELECT id FROM g WHERE ssn > '8') x ON x.id = o.id",
	"CREATE VIEW outer8 AS SELECT o.id, x.id AS one FROM o LEFT JOIN (SELECT id FROM g ORDER BY ssn LIMIT 5) x ON x.id = o.id",
	"CREATE VIEW inner1 AS SELECT o.id, EXISTS (SELECT 1 FROM high WHERE high.id = o.id) AS yes, o.id IN (SELECT id FROM high) AS too FROM o",
	"CREATE VIEW inner2 AS WITH x AS (SELECT id FROM g WHERE ssn > '8') SELECT o.id, EXISTS (SELECT 1 FROM x WHERE x.id = o.id) AS yes FROM o",
	"CREATE VIEW filt AS SELECT grp, sum(ssn > '8') AS n, group_concat(id ORDER BY ssn) AS ids FROM g GROUP BY grp",
	"CREATE VIEW hv AS SELECT id, kind FROM h", "CREATE VIEW hvv AS SELECT id FROM hv", "CREATE VIEW gvv AS SELECT id, token, person FROM gv",
	"CREATE VIEW hn AS SELECT id, g_id FROM h WHERE tok IS NOT NULL", "CREATE VIEW gn AS SELECT id, person FROM gv WHERE token IS NOT NULL",
	"CREATE VIEW semi AS SELECT id FROM o WHERE id IN (SELECT id FROM h)", "CREATE VIEW hd AS SELECT DISTINCT kind FROM h",
	"CREATE VIEW hg AS SELECT id FROM h UNION ALL SELECT id FROM g",
	"CREATE TABLE w (id int PRIMARY KEY, ssn varchar(60), n int, body varchar(60), FULLTEXT KEY words (body))",
}

// masked is a sink that puts the row that first has a value in the place of each
// of the gateway's masks.
type maskedAnswer struct {
	answer
	outputs []connectors.Output
	values  map[string]string
}

func (m *maskedAnswer) Columns(cols []connectors.ResultColumn) error {
	if len(cols) != len(m.outputs) {
		return errors.New("another number of columns")
	}
	for i, out := range m.outputs {
		m.types = append(m.types, fmt.Sprint(out.Name, " ", out.Mask, " ", out.Gateway, " ", cols[i].Type))
	}
	return nil
}

func (m *maskedAnswer) Row(cells []connectors.Cell) (bool, error) {
	own := append([]connectors.Cell(nil), cells...)
	for i := range own {
		if m.outputs[i].Gateway && own[i].Kind != connectors.CellNull {
			row, ok := m.values[string(own[i].Text)]
			if !ok {
				row = "NO SUCH VALUE " + string(own[i].Text)
			}
			own[i] = connectors.Cell{Kind: connectors.CellString, Text: []byte(row)}
		}
	}
	return m.answer.Row(own)
}

// seen is all that a client sees of a statement.
func (w *gatewayTwin) seen(t *testing.T, rules *policy.Engine, text string) (verdict, shown, sent string) {
	t.Helper()
	for id, mrn := range w.mrn {
		text = strings.ReplaceAll(text, "{mrn "+id+"}", mrn)
	}
	in := w.input(text, 0)
	in.Cells = len(text)%2 == 0 // half with the counts that small cells need
	st, err := w.engine.Analyze(w.cat, in)
	var refusal *connectors.Error
	if errors.As(err, &refusal) {
		return "refused", strings.ReplaceAll(fmt.Sprintf("%+v", *refusal), w.target.Database, "DB"), ""
	} else if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	tw := &twins{rules: rules}
	d, err := tw.decide(st, nil)
	if err != nil {
		t.Fatal(err)
	}
	verdict = string(d.Effect)
	if verdict != string(policy.Allow) && !st.Write {
		return verdict, fmt.Sprint(d.Matched), st.Text
	}
	if len(st.Lookups) > 0 {
		verdict += "+lookup"
	}
	one := *st
	one.Stamps = nil
	a := &maskedAnswer{outputs: st.Outputs, values: w.values}
	a.limit = rowLimit
	lim := limits
	lim.Classes, lim.Write = w.classes, st.Write
	est, err := w.session.Prepare(t.Context(), &one, nil, lim)
	var out connectors.Outcome
	if err == nil {
		out, err = w.session.Execute(t.Context(), a)
	}
	if err != nil {
		if !errors.As(err, &a.failed) {
			a.failed = &connectors.Error{Message: "NO ERROR OF THE DATABASE: " + err.Error()}
		}
		a.rows = nil
		if err := w.connect(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_ = est
	said := ""
	if a.failed != nil {
		said = fmt.Sprintf("%+v", *a.failed)
	}
	out.TransactionID = ""
	rows := string(bytes.Join(a.rows, []byte("\n")))
	shown = fmt.Sprintf("%v %v %s %v\n%s", a.types, st.Notes, said, out, rows)
	if st.Write {
		shown += "\n" + w.open(t)
	}
	return verdict, strings.ReplaceAll(shown, w.target.Database, "DB"), st.Text
}

// open is what is stored in unprotected columns.
func (w *gatewayTwin) open(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	list := []string{"SELECT id, n, label, tok FROM o ORDER BY id", "SELECT id, person, grp, NULL FROM g ORDER BY id", "SELECT id, g_id, kind, NULL FROM h ORDER BY id",
		"SELECT id, NULL, label, NULL FROM dflt ORDER BY id"}
	if w.engine.Name() == "mysql" {
		list = append(list, "SELECT id, n, NULL, NULL FROM w ORDER BY id")
	}
	for _, q := range list {
		rows, err := w.sql.QueryContext(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var v [4]sql.NullString
			if err := rows.Scan(&v[0], &v[1], &v[2], &v[3]); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&b, v)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// alike repeats a statement on new connections until both twins have given one and
// the same answer. In what order MariaDB's sort leaves equals depends on where in
// memory a connection keeps them, also on one database alone.
func alike(t *testing.T, rules *policy.Engine, text string, one, two *gatewayTwin) bool {
	t.Helper()
	if !strings.Contains(text, "ORDER BY") {
		return false
	}
	answers := [2]map[string]bool{{}, {}}
	for range 20 {
		for i, w := range []*gatewayTwin{one, two} {
			_ = w.session.Close(t.Context())
			other, err := w.sql.Conn(t.Context()) // takes the memory that was left
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close() //nolint:gocritic // after all tries
			if err := w.connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, shown, _ := w.seen(t, rules, text)
			if answers[1-i][shown] {
				return true
			}
			answers[i][shown] = true
		}
	}
	return false
}

func TestGatewayMasks(t *testing.T) {
	for _, name := range []string{"postgres", "postgres through masked views", "mysql", "mysql through masked views"} {
		t.Run(name, func(t *testing.T) {
			engine, _, masked := strings.Cut(name, " ")
			path := os.Getenv("CHAPERONE_ATTACK_" + strings.ToUpper(engine))
			if path == "" {
				path = "testdata/gatewaymasks_" + engine + ".sql"
			}
			list, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			rules, err := policy.New(policy.HIPAA(policy.DefaultFigures()))
			if err != nil {
				t.Fatal(err)
			}
			one, two := openGatewayTwin(t, engine, 0), openGatewayTwin(t, engine, 1)
			if masked {
				one.throughViews(t, one.sql)
				two.throughViews(t, two.sql)
			}
			counts := map[string]int{}
			for _, text := range strings.Split(string(list), "\n") {
				if text = strings.TrimSpace(text); text == "" || strings.HasPrefix(text, "--") {
					continue
				}
				v1, a1, sent := one.seen(t, rules, text)
				v2, a2, _ := two.seen(t, rules, text)
				counts[v1]++
				if engine == "mysql" && a1 != a2 && alike(t, rules, text, one, two) {
					counts["ties in another order"]++
					continue
				}
				if v1 != v2 || a1 != a2 || strings.Contains(a1, "NO SUCH VALUE") {
					t.Errorf("%s\nruns as\n%s\n--- one: %s\n%.1500s\n--- two: %s\n%.1500s", text, sent, v1, a1, v2, a2)
				} else if os.Getenv("CHAPERONE_ATTACK_SAY") != "" {
					t.Logf("%s: %s\n%.300s\n%.600s", v1, text, a1, sent)
				}
			}
			t.Log(counts)
		})
	}
}
