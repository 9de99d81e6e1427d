package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"

	driversql "github.com/go-sql-driver/mysql"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/loopback"
	"github.com/chaperone-sql/chaperone/masking"
)

// masks implements connectors.Masks on MariaDB. Its DDL has no transactions, so
// a script that fails half-way is run again.
type masks struct {
	db      *sql.DB
	conn    *sql.Conn
	target  connectors.Target
	classes *masking.Classification
	names   connectors.MaskNames
}

// scratch is the view that Diff makes and drops to have the server write down
// what a definition should be.
const scratch = "chaperone_scratch"

// OpenMasks connects an administrator; see connectors.MaskEngine.
func (e *Engine) OpenMasks(ctx context.Context, dsn masking.Secret, t connectors.Target, classes *masking.Classification,
	names connectors.MaskNames,
) (connectors.Masks, error) {
	u, err := url.Parse(dsn.Reveal())
	if err != nil || u.User == nil || u.Hostname() == "" || (u.Scheme != "mysql" && u.Scheme != "mariadb") {
		return nil, errors.New("the administrator's DSN is no URL like mysql://user:password@host:port/database") // the error would quote it
	}
	if name := strings.Trim(u.Path, "/"); name != t.Database {
		return nil, fmt.Errorf("the administrator's DSN names another database than the connection's %q", t.Database)
	}
	if t.TLS == nil && !loopback.Is(u.Hostname()) {
		return nil, errors.New("the administrator's connection would not be encrypted (tls of the connection) and the database is not on this machine")
	}
	port := u.Port()
	if port == "" {
		port = "3306"
	}
	cfg := driversql.NewConfig()
	cfg.User = u.User.Username()
	cfg.Passwd, _ = u.User.Password()
	cfg.Net, cfg.Addr, cfg.DBName, cfg.TLS = "tcp", net.JoinHostPort(u.Hostname(), port), t.Database, t.TLS
	cfg.Collation, cfg.Timeout, cfg.Logger = collation, t.ConnectTimeout, log.New(io.Discard, "", 0)
	connector, err := driversql.NewConnector(cfg)
	if err != nil {
		return nil, errors.New("the administrator's DSN is malformed")
	}
	db := sql.OpenDB(connector)
	conn, err := db.Conn(ctx)
	if err != nil {
		_ = db.Close()
		return nil, errors.New("the administrator cannot connect to the database")
	}
	m := &masks{db: db, conn: conn, target: t, classes: classes, names: names}
	var version string
	err = conn.QueryRowContext(ctx, "SELECT @@version").Scan(&version)
	if err == nil && !strings.Contains(strings.ToLower(version), "mariadb") {
		err = errors.New("masks in the database need MariaDB or PostgreSQL; this server is neither")
	}
	if err == nil { // a view keeps the mode and the collation it was made with
		_, err = conn.ExecContext(ctx, "SET SESSION sql_mode = '"+SQLMode+"'")
	}
	if err == nil {
		_, err = conn.ExecContext(ctx, "SET NAMES utf8mb4 COLLATE "+collation)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close(ctx))
	}
	return m, nil
}

func (m *masks) Close(context.Context) error { return errors.Join(m.conn.Close(), m.db.Close()) }

func (m *masks) mark() string {
	return "made by chaperone masks apply for the database " + m.target.Database
}

func (m *masks) owner() string { return literal(m.names.Owner) + "@'localhost'" }

func (m *masks) view(name string) string { return quote(m.names.Schema) + "." + quote(name) }

// found says which of database, reader and owner exist. What somebody else made
// is an error; accounts have no comments, so theirs is the database's.
func (m *masks) found(ctx context.Context) (schema, reader, owner bool, err error) {
	var what, comment string
	var foreign error
	err = scan(ctx, m.conn, []any{&what, &comment}, func() {
		switch what {
		case "schema":
			schema = true
			if comment != m.mark() {
				foreign = fmt.Errorf("the database %s exists and was not made by chaperone; choose another masked_schema", m.names.Schema)
			}
		case "reader":
			reader = true
		case "owner":
			owner = true
		}
	}, `SELECT 'schema', SCHEMA_COMMENT FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?
		UNION ALL SELECT 'reader', '' FROM mysql.user WHERE user = ? UNION ALL SELECT 'owner', '' FROM mysql.user WHERE user = ?`,
		m.names.Schema, m.names.Reader, m.names.Owner)
	if err == nil && foreign == nil && !schema && (reader || owner) {
		foreign = fmt.Errorf("%s or %s exists and was not made by chaperone; choose another masked_schema", m.names.Reader, m.names.Owner)
	}
	return schema, reader, owner, errors.Join(err, foreign)
}

func (m *masks) views(ctx context.Context) ([]connectors.MaskedView, error) {
	cat, err := loadCatalog(ctx, m.conn, m.target.Database)
	if err != nil {
		return nil, err
	}
	return MaskedViews(cat, m.classes, m.names.Schema)
}

// installedView is a view as the server has it.
type installedView struct{ name, kind, definition, security, definer, columns string }

// installed lists what is in the masked database, or the one thing of a name.
func (m *masks) installed(ctx context.Context, only string) ([]installedView, error) {
	where, args := "TABLE_SCHEMA = ?", []any{m.names.Schema}
	if only != "" { // a constant: else the server opens every table there is
		where, args = where+" AND TABLE_NAME = ?", append(args, only)
	}
	var list []installedView
	at := map[string]int{}
	var one installedView
	err := scan(ctx, m.conn, []any{&one.name, &one.kind}, func() {
		at[one.name] = len(list)
		list = append(list, one)
	}, "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE "+where+" ORDER BY TABLE_NAME", args...)
	if err != nil {
		return nil, err
	}
	err = scan(ctx, m.conn, []any{&one.name, &one.definition, &one.security, &one.definer}, func() {
		if i, ok := at[one.name]; ok {
			list[i].definition, list[i].security, list[i].definer = one.definition, one.security, one.definer
		}
	}, "SELECT TABLE_NAME, VIEW_DEFINITION, SECURITY_TYPE, DEFINER FROM information_schema.VIEWS WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	var column, typ string
	err = scan(ctx, m.conn, []any{&one.name, &column, &typ}, func() {
		if i, ok := at[one.name]; ok {
			list[i].columns += fmt.Sprintf("%q %s,", column, typ)
		}
	}, "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE FROM information_schema.COLUMNS WHERE "+where+" ORDER BY TABLE_NAME, ORDINAL_POSITION", args...)
	return list, err
}

// Script is the SQL of Apply; see connectors.Masks.
func (m *masks) Script(ctx context.Context) ([]string, error) {
	views, err := m.views(ctx)
	if err != nil {
		return nil, err
	}
	schema, reader, owner, err := m.found(ctx)
	if err != nil {
		return nil, err
	}
	have, err := m.installed(ctx, "")
	if err != nil {
		return nil, err
	}
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if !schema { // first, since it tells that what follows is ours
		add("CREATE DATABASE %s CHARACTER SET utf8mb4 COMMENT %s", quote(m.names.Schema), literal(m.mark()))
	}
	if !owner {
		add("CREATE USER %s ACCOUNT LOCK", m.owner())
	}
	if !reader {
		add("CREATE ROLE %s", quote(m.names.Reader))
	}
	wanted := map[string]bool{}
	for _, v := range views {
		if v.Skipped != "" {
			add("-- no view for %s: %s", quote(v.Name), strings.ReplaceAll(v.Skipped, "\n", " "))
			continue
		}
		wanted[v.Name] = true
		add("GRANT SELECT ON %s.%s TO %s", quote(v.BaseSchema), quote(v.Name), m.owner())
		add("CREATE OR REPLACE DEFINER = %s SQL SECURITY DEFINER VIEW %s AS %s", m.owner(), m.view(v.Name), v.Select)
		add("GRANT SELECT, SHOW VIEW ON %s TO %s", m.view(v.Name), quote(m.names.Reader))
	}
	for _, v := range have {
		if v.kind == "VIEW" && !wanted[v.name] {
			add("DROP VIEW %s", m.view(v.name))
		}
	}
	// A view that went takes no grants along.
	for _, one := range []struct {
		there    bool
		account  string
		expected map[string]bool
	}{{owner, m.owner(), m.ownerGrants(views)}, {reader, quote(m.names.Reader), m.readerGrants(views)}} {
		if !one.there {
			continue
		}
		extra, err := m.extraGrants(ctx, one.account, one.expected)
		if err != nil {
			return nil, err
		}
		for _, g := range extra {
			if revoke, ok := revocation(g); ok && strings.HasPrefix(g, "GRANT SELECT") { // only rights of the kind that apply gives
				add("%s", revoke)
			}
		}
	}
	return out, nil
}

// revocation undoes a line of SHOW GRANTS.
func revocation(grant string) (string, bool) {
	rest, ok := strings.CutPrefix(grant, "GRANT ")
	i := strings.LastIndex(rest, " TO ")
	if !ok || i < 0 || strings.Contains(rest[i:], " WITH ") {
		return "", false
	}
	return "REVOKE " + rest[:i] + " FROM " + strings.TrimPrefix(rest[i:], " TO "), true
}

// Apply runs Script.
func (m *masks) Apply(ctx context.Context) error { return m.run(ctx, m.Script) }

// Drop runs DropScript.
func (m *masks) Drop(ctx context.Context) error { return m.run(ctx, m.DropScript) }

func (m *masks) run(ctx context.Context, script func(context.Context) ([]string, error)) error {
	statements, err := script(ctx)
	if err != nil {
		return err
	}
	for _, s := range statements {
		if strings.HasPrefix(s, "--") {
			continue
		}
		if _, err := m.conn.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// DropScript is the SQL of Drop; see connectors.Masks. The database goes only if
// nothing in it was made by others: DROP DATABASE asks nobody.
func (m *masks) DropScript(ctx context.Context) ([]string, error) {
	schema, reader, owner, err := m.found(ctx)
	if err != nil {
		return nil, err
	}
	have, err := m.installed(ctx, "")
	if err != nil {
		return nil, err
	}
	var out, foreign []string
	for _, v := range have {
		if v.definer != m.names.Owner+"@localhost" {
			foreign = append(foreign, v.name)
		} else {
			out = append(out, "DROP VIEW "+m.view(v.name))
		}
	}
	var name string
	err = scan(ctx, m.conn, []any{&name}, func() { foreign = append(foreign, name) },
		`SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = ?
			UNION ALL SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = ?`, m.names.Schema, m.names.Schema)
	if err != nil {
		return nil, err
	}
	if len(foreign) > 0 {
		return nil, fmt.Errorf("the database %s holds what was not made by chaperone: %s", m.names.Schema, strings.Join(foreign, ", "))
	}
	if reader {
		out = append(out, "DROP ROLE "+quote(m.names.Reader))
	}
	if owner {
		out = append(out, "DROP USER "+m.owner())
	}
	if schema {
		out = append(out, "DROP DATABASE "+quote(m.names.Schema))
	}
	return out, nil
}

// Diff compares; see connectors.Masks. Each view that should be is made once
// more under another name, so the server itself says whether two definitions
// are the same.
func (m *masks) Diff(ctx context.Context) ([]connectors.MaskDifference, error) {
	var out []connectors.MaskDifference
	differs := func(object, format string, args ...any) {
		out = append(out, connectors.MaskDifference{Object: object, Problem: fmt.Sprintf(format, args...)})
	}
	schema, reader, owner, err := m.found(ctx)
	if err != nil {
		return nil, err
	}
	for _, made := range []struct {
		there bool
		name  string
	}{{schema, "database " + m.names.Schema}, {reader, "role " + m.names.Reader}, {owner, "account " + m.names.Owner}} {
		if !made.there {
			differs(made.name, "missing")
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	views, err := m.views(ctx)
	if err != nil {
		return nil, err
	}
	if err := m.diffViews(ctx, views, differs); err != nil {
		return nil, err
	}
	return out, m.diffRights(ctx, views, differs)
}

func (m *masks) diffViews(ctx context.Context, views []connectors.MaskedView, differs func(object, format string, args ...any)) error {
	list, err := m.installed(ctx, "")
	if err != nil {
		return err
	}
	have := map[string]installedView{}
	for _, v := range list {
		have[v.name] = v
	}
	defer func() { _, _ = m.conn.ExecContext(context.WithoutCancel(ctx), "DROP VIEW IF EXISTS "+m.view(scratch)) }()
	for _, v := range views {
		if v.Skipped != "" {
			continue
		}
		name, got := m.names.Schema+"."+v.Name, have[v.Name]
		delete(have, v.Name)
		if got.kind != "VIEW" {
			differs(name, "missing")
			continue
		}
		if _, err := m.conn.ExecContext(ctx, fmt.Sprintf("CREATE OR REPLACE DEFINER = %s SQL SECURITY DEFINER VIEW %s AS %s", m.owner(), m.view(scratch), v.Select)); err != nil {
			return err
		}
		made, err := m.installed(ctx, scratch)
		if err != nil || len(made) != 1 {
			return errors.Join(err, fmt.Errorf("%d views %s where one was made", len(made), scratch))
		}
		want := made[0]
		switch {
		case got.definition != want.definition || got.columns != want.columns:
			differs(name, "changed: its definition is not what the configuration asks for")
		case got.security != want.security || got.definer != want.definer:
			differs(name, "changed: SQL SECURITY %s of %s", got.security, got.definer)
		}
	}
	delete(have, scratch)
	for _, v := range list {
		if _, left := have[v.name]; left {
			differs(m.names.Schema+"."+v.name, "stale: nothing asks for this %s", strings.ToLower(v.kind))
		}
	}
	var name string
	return scan(ctx, m.conn, []any{&name}, func() { differs(m.names.Schema+"."+name, "stale: nothing asks for this routine") },
		"SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = ?", m.names.Schema)
}

// readerGrants and ownerGrants are what SHOW GRANTS should say, without whom.
func (m *masks) readerGrants(views []connectors.MaskedView) map[string]bool {
	out := map[string]bool{"GRANT USAGE ON *.*": true}
	for _, v := range views {
		if v.Skipped == "" {
			out["GRANT SELECT, SHOW VIEW ON "+m.view(v.Name)] = true
		}
	}
	return out
}

func (*masks) ownerGrants(views []connectors.MaskedView) map[string]bool {
	out := map[string]bool{"GRANT USAGE ON *.*": true}
	for _, v := range views {
		if v.Skipped == "" {
			out["GRANT SELECT ON "+quote(v.BaseSchema)+"."+quote(v.Name)] = true
		}
	}
	return out
}

// diffRights reports every right of the two accounts, and of PUBLIC, beyond what
// they were given.
func (m *masks) diffRights(ctx context.Context, views []connectors.MaskedView, differs func(object, format string, args ...any)) error {
	for _, one := range []struct {
		account, object string
		expected        map[string]bool
	}{
		{quote(m.names.Reader), "role " + m.names.Reader, m.readerGrants(views)},
		{m.owner(), "account " + m.names.Owner, m.ownerGrants(views)},
		{"PUBLIC", "PUBLIC", nil},
	} {
		extra, err := m.extraGrants(ctx, one.account, one.expected)
		if err != nil {
			return err
		}
		for _, g := range extra {
			differs(one.object, "too many privileges: %s", g)
		}
		grants, err := m.grants(ctx, one.account)
		if err != nil {
			return err
		}
		for _, want := range slices.Sorted(maps.Keys(one.expected)) {
			if !slices.ContainsFunc(grants, func(g string) bool { return strings.HasPrefix(g, want+" TO ") }) {
				differs(one.object, "missing: %s", want)
			}
		}
	}
	var account, text string
	err := scan(ctx, m.conn, []any{&text}, func() {
		if !strings.Contains(text, "ACCOUNT LOCK") {
			differs("account "+m.names.Owner, "changed: somebody can log in as it")
		}
	}, "SHOW CREATE USER "+m.owner())
	if err != nil {
		return err
	}
	return scan(ctx, m.conn, []any{&account}, func() { differs("account "+account, "stale: it has the name of a part of the masks") },
		"SELECT CONCAT(user, '@', host) FROM mysql.user WHERE (user = ? AND host <> '') OR (user = ? AND host <> 'localhost')", m.names.Reader, m.names.Owner)
}

// extraGrants are the lines of SHOW GRANTS that are not expected.
func (m *masks) extraGrants(ctx context.Context, account string, expected map[string]bool) ([]string, error) {
	grants, err := m.grants(ctx, account)
	if err != nil {
		return nil, err
	}
	var extra []string
	for _, g := range grants {
		right, whom, _ := cutLast(g, " TO ")
		// An account that nobody can log in to may say how it would be done.
		if !expected[right] || strings.Contains(whom, " WITH ") {
			extra = append(extra, g)
		}
	}
	return extra, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func (m *masks) grants(ctx context.Context, account string) ([]string, error) {
	var lines []string
	var line string
	err := scan(ctx, m.conn, []any{&line}, func() { lines = append(lines, line) }, "SHOW GRANTS FOR "+account)
	var server *driversql.MySQLError
	if errors.As(err, &server) && server.Number == 1141 && account == "PUBLIC" {
		return nil, nil // no such grant
	}
	return lines, err
}
