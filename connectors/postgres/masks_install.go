package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/loopback"
	"github.com/chaperone-sql/chaperone/masking"
)

// masks implements connectors.Masks.
type masks struct {
	conn    *pgx.Conn
	target  connectors.Target
	classes *masking.Classification
	names   connectors.MaskNames
	super   bool
}

var _ connectors.MaskEngine = (*Engine)(nil)

// OpenMasks connects an administrator; see connectors.MaskEngine.
func (e *Engine) OpenMasks(ctx context.Context, dsn masking.Secret, t connectors.Target, classes *masking.Classification,
	names connectors.MaskNames,
) (connectors.Masks, error) {
	cfg, err := pgx.ParseConfig(dsn.Reveal())
	if err != nil {
		return nil, errors.New("the administrator's DSN is no PostgreSQL URL") // the error would quote it
	}
	if cfg.Database != t.Database {
		return nil, fmt.Errorf("the administrator's DSN names another database than the connection's %q", t.Database)
	}
	if cfg.TLSConfig == nil && !loopback.Is(cfg.Host) {
		return nil, errors.New("the administrator's connection is not encrypted (sslmode) and the database is not on this machine")
	}
	cfg.RuntimeParams["search_path"] = "pg_catalog"
	cfg.RuntimeParams["standard_conforming_strings"] = "on"
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, errors.New("the administrator cannot connect to the database")
	}
	m := &masks{conn: conn, target: t, classes: classes, names: names}
	if err := conn.QueryRow(ctx, "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = CURRENT_USER").Scan(&m.super); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return m, nil
}

func (m *masks) Close(ctx context.Context) error { return m.conn.Close(ctx) }

func (m *masks) views(ctx context.Context) ([]connectors.MaskedView, *catalog, error) {
	cat, err := loadCatalog(ctx, m.conn, m.target.SearchPath)
	if err != nil {
		return nil, nil, err
	}
	views, err := MaskedViews(cat, m.classes, m.names.Schema)
	return views, cat, err
}

// mark is the comment by which schema and roles are known to be ours. Roles
// belong to the whole server, so it names the database.
func (m *masks) mark() string {
	return "made by chaperone masks apply for the database " + m.target.Database
}

// found says which of schema, reader and owner exist; those that somebody else
// made are an error.
func (m *masks) found(ctx context.Context) (schema, reader, owner bool, err error) {
	var kind, name, comment string
	var foreign error
	err = each(ctx, m.conn, []any{&kind, &name, &comment}, func() {
		switch {
		case comment != m.mark():
			foreign = fmt.Errorf("the %s %s exists and was not made by chaperone for this database; choose another masked_schema", kind, name)
		case kind == "schema":
			schema = true
		case name == m.names.Reader:
			reader = true
		default:
			owner = true
		}
	}, `SELECT 'schema', nspname::text, coalesce(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace WHERE nspname = $1
		UNION ALL SELECT 'role', rolname::text, coalesce(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname IN ($2, $3)`,
		m.names.Schema, m.names.Reader, m.names.Owner)
	return schema, reader, owner, errors.Join(err, foreign)
}

// Script is the SQL of Apply; see connectors.Masks.
func (m *masks) Script(ctx context.Context) ([]string, error) {
	views, cat, err := m.views(ctx)
	if err != nil {
		return nil, err
	}
	schema, reader, owner, err := m.found(ctx)
	if err != nil {
		return nil, err
	}
	n := quotedNames(m.names)
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, role := range []struct {
		there bool
		name  string
	}{{owner, n.Owner}, {reader, n.Reader}} {
		if !role.there {
			add("CREATE ROLE %s NOLOGIN", role.name)
			add("COMMENT ON ROLE %s IS %s", role.name, literal(m.mark()))
		}
	}
	if !m.super {
		add("GRANT %s TO CURRENT_USER", n.Owner) // to give it the views
	}
	if !schema {
		add("CREATE SCHEMA %s AUTHORIZATION %s", n.Schema, n.Owner)
		add("COMMENT ON SCHEMA %s IS %s", n.Schema, literal(m.mark()))
		add("REVOKE ALL ON SCHEMA %s FROM PUBLIC", n.Schema)
	}
	add("GRANT CONNECT ON DATABASE %s TO %s", quote(m.target.Database), n.Reader)
	add("GRANT USAGE ON SCHEMA %s TO %s", n.Schema, n.Reader)
	for _, s := range m.target.SearchPath {
		add("GRANT USAGE ON SCHEMA %s TO %s", quote(s), n.Owner)
	}
	for _, r := range installed(cat, m.names.Schema) {
		if r.kind == "view" {
			add("DROP VIEW %s.%s", n.Schema, quote(r.name))
		}
	}
	for _, v := range views {
		base, view := quote(v.BaseSchema)+"."+quote(v.Name), n.Schema+"."+quote(v.Name)
		if v.Skipped != "" {
			add("-- no view for %s: %s", base, strings.ReplaceAll(v.Skipped, "\n", " "))
			continue
		}
		with := ""
		if v.Protected {
			with = " WITH (security_barrier = true)"
		}
		add("GRANT SELECT ON %s TO %s", base, n.Owner)
		add("CREATE VIEW %s%s AS %s", view, with, v.Select)
		add("ALTER VIEW %s OWNER TO %s", view, n.Owner)
		add("REVOKE ALL ON %s FROM PUBLIC", view)
		add("GRANT SELECT ON %s TO %s", view, n.Reader)
		add("COMMENT ON VIEW %s IS %s", view, literal(viewComment(v)))
	}
	if !m.super {
		add("REVOKE %s FROM CURRENT_USER", n.Owner)
	}
	return out, nil
}

// Apply runs Script in one transaction.
func (m *masks) Apply(ctx context.Context) error { return m.run(ctx, m.Script) }

// Drop runs DropScript in one transaction.
func (m *masks) Drop(ctx context.Context) error { return m.run(ctx, m.DropScript) }

func (m *masks) run(ctx context.Context, script func(context.Context) ([]string, error)) error {
	tx, err := m.conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }() // nothing after a commit
	statements, err := script(ctx)
	if err != nil {
		return err
	}
	for _, s := range statements {
		if strings.HasPrefix(s, "--") {
			continue
		}
		if _, err := tx.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return tx.Commit(ctx)
}

// DropScript is the SQL of Drop; see connectors.Masks. What others put into the
// schema makes DROP SCHEMA fail, and with it everything.
func (m *masks) DropScript(ctx context.Context) ([]string, error) {
	schema, reader, owner, err := m.found(ctx)
	if err != nil {
		return nil, err
	}
	cat, err := loadCatalog(ctx, m.conn, m.target.SearchPath)
	if err != nil {
		return nil, err
	}
	n := quotedNames(m.names)
	var out []string
	if !m.super && owner {
		out = append(out, "GRANT "+n.Owner+", "+n.Reader+" TO CURRENT_USER")
	}
	if schema {
		for _, r := range installed(cat, m.names.Schema) {
			if r.kind == "view" && strings.HasPrefix(r.comment, commentPrefix) {
				out = append(out, "DROP VIEW "+n.Schema+"."+quote(r.name))
			}
		}
		out = append(out, "DROP SCHEMA "+n.Schema)
	}
	var elsewhere []string
	var what string
	err = each(ctx, m.conn, []any{&what}, func() { elsewhere = append(elsewhere, what) },
		`SELECT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid
			WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype = 'o' AND r.rolname IN ($2, $3)
			AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
			AND NOT (d.classid = 'pg_namespace'::regclass AND d.objid = coalesce(to_regnamespace($1)::oid, 0))
			AND NOT (d.classid = 'pg_class'::regclass AND EXISTS (SELECT FROM pg_class c WHERE c.oid = d.objid AND c.relnamespace = to_regnamespace($1)))`,
		n.Schema, m.names.Reader, m.names.Owner)
	if err != nil {
		return nil, err
	}
	if len(elsewhere) > 0 { // DROP OWNED would take them along
		return nil, fmt.Errorf("the roles of the masks own things that were not made by chaperone: %s", strings.Join(elsewhere, ", "))
	}
	for _, role := range []struct {
		there bool
		name  string
	}{{reader, n.Reader}, {owner, n.Owner}} {
		if role.there {
			out = append(out, "DROP OWNED BY "+role.name, "DROP ROLE "+role.name) // its privileges go, it owns nothing
		}
	}
	return out, nil
}

// Diff compares; see connectors.Masks. The views that should be are made in a
// schema of a transaction that is rolled back, so the server itself says
// whether two definitions are the same.
func (m *masks) Diff(ctx context.Context) ([]connectors.MaskDifference, error) {
	tx, err := m.conn.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback(ctx) }()
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
	}{{schema, "schema " + m.names.Schema}, {reader, "role " + m.names.Reader}, {owner, "role " + m.names.Owner}} {
		if !made.there {
			differs(made.name, "missing")
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	if err := m.diffViews(ctx, differs); err != nil {
		return nil, err
	}
	return out, m.diffRights(ctx, differs)
}

func (m *masks) diffViews(ctx context.Context, differs func(object, format string, args ...any)) error {
	views, cat, err := m.views(ctx)
	if err != nil {
		return err
	}
	var random [8]byte
	_, _ = rand.Read(random[:])
	scratch := "chaperone_diff_" + hex.EncodeToString(random[:])
	if _, err := m.conn.Exec(ctx, "CREATE SCHEMA "+quote(scratch)); err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, v := range views {
		name := m.names.Schema + "." + v.Name
		if v.Skipped != "" {
			continue
		}
		wanted[v.Name] = true
		have := cat.relations[name]
		if have == nil || have.kind != "view" {
			differs(name, "missing")
			continue
		}
		if _, err := m.conn.Exec(ctx, "CREATE VIEW "+quote(scratch)+"."+quote(v.Name)+" AS "+v.Select); err != nil {
			return err
		}
		var same bool
		var options, owner, others string
		err := m.conn.QueryRow(ctx, `SELECT pg_get_viewdef(h.oid) = pg_get_viewdef(w.oid)
				AND (SELECT array_agg(a.attname::text || a.atttypid || ',' || a.atttypmod ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = h.oid AND a.attnum > 0)
				  = (SELECT array_agg(a.attname::text || a.atttypid || ',' || a.atttypmod ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = w.oid AND a.attnum > 0)
				AND (SELECT count(*) FROM pg_rewrite r WHERE r.ev_class = h.oid) = 1
				AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = h.oid),
			coalesce(array_to_string(h.reloptions, ','), ''), pg_get_userbyid(h.relowner)::text,
			coalesce((SELECT string_agg(DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee)::text END || ' ' || x.privilege_type, ', ')
				FROM aclexplode(h.relacl) x WHERE x.grantee <> h.relowner AND NOT (x.grantee = $3::regrole AND x.privilege_type = 'SELECT' AND NOT x.is_grantable)), '')
			FROM pg_class h, pg_class w WHERE h.oid = $1::int8::oid AND w.oid = $2::regclass`, have.oid, quote(scratch)+"."+quote(v.Name), quote(m.names.Reader)).
			Scan(&same, &options, &owner, &others)
		if err != nil {
			return err
		}
		barrier := ""
		if v.Protected {
			barrier = "security_barrier=true"
		}
		switch {
		case !same:
			differs(name, "changed: its definition is not what the configuration asks for")
		case have.comment != viewComment(v):
			differs(name, "changed: it was made of another text, or its comment was changed")
		case options != barrier:
			differs(name, "changed: its options are %q and should be %q", options, barrier)
		case owner != m.names.Owner:
			differs(name, "changed: it belongs to %s", owner)
		}
		if others != "" {
			differs(name, "too many privileges: %s", others)
		}
	}
	for _, r := range installed(cat, m.names.Schema) {
		if !wanted[r.name] {
			differs(m.names.Schema+"."+r.name, "stale: nothing asks for this %s", strings.ReplaceAll(r.kind, "_", " "))
		}
	}
	return nil
}

// diffRights reports everything that the reader may do beyond reading the views,
// by whatever way it came to it, and who may act as the owner.
func (m *masks) diffRights(ctx context.Context, differs func(object, format string, args ...any)) error {
	var object, problem string
	return each(ctx, m.conn, []any{&object, &problem}, func() { differs(object, "%s", problem) }, rightsSQL,
		m.names.Schema, m.names.Reader, m.names.Owner)
}

const rightsSQL = `WITH reader AS (SELECT * FROM pg_roles WHERE rolname = $2::text), owner AS (SELECT * FROM pg_roles WHERE rolname = $3::text)
	SELECT 'role ' || r.rolname, 'too many privileges: it is more than a NOLOGIN role without attributes'
		FROM pg_roles r WHERE r.rolname IN ($2::text, $3::text) AND (r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolcanlogin OR r.rolreplication OR r.rolbypassrls)
	UNION ALL SELECT 'role ' || m.member::regrole::text, 'too many privileges: member of ' || m.roleid::regrole::text
		FROM pg_auth_members m WHERE m.member IN (SELECT oid FROM reader UNION SELECT oid FROM owner) OR m.roleid IN (SELECT oid FROM owner)
	UNION ALL SELECT c.oid::regclass::text, 'too many privileges: ' || r.rolname || ' may use it'
		FROM reader r, pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', $1::text) AND n.nspname !~ '^pg_(toast|temp)'
		AND ((c.relkind IN ('r','v','m','f','p') AND (has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
				OR has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')))
			OR CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(r.oid, c.oid, 'SELECT, USAGE, UPDATE') ELSE false END)
	UNION ALL SELECT c.oid::regclass::text, 'too many privileges: ' || r.rolname || ' may write it'
		FROM reader r, pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1::text AND c.relkind IN ('r','v','m','f','p')
		AND (has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') OR has_any_column_privilege(r.oid, c.oid, 'INSERT, UPDATE, REFERENCES'))
	UNION ALL SELECT c.oid::regclass::text, 'too many privileges: ' || r.rolname || ' may read a system table that holds values or secrets'
		FROM reader r, pg_class c WHERE c.relnamespace = 'pg_catalog'::regnamespace
		AND c.relname IN ('pg_authid', 'pg_statistic', 'pg_statistic_ext_data', 'pg_largeobject', 'pg_user_mapping', 'pg_subscription')
		AND CASE c.relname WHEN 'pg_subscription' THEN has_column_privilege(r.oid, c.oid, 'subconninfo', 'SELECT') ELSE has_any_column_privilege(r.oid, c.oid, 'SELECT') END
	UNION ALL SELECT p.oid::regprocedure::text, 'too many privileges: ' || r.rolname || ' may run a function with the rights of ' || p.proowner::regrole::text
		FROM reader r, pg_proc p WHERE p.prosecdef AND p.oid >= 16384 AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
	UNION ALL SELECT p.oid::regprocedure::text, 'stale: nothing asks for this function' FROM pg_proc p WHERE p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1::text)
	UNION ALL SELECT 'schema ' || n.nspname, 'too many privileges: ' || r.rolname || ' may create in it'
		FROM reader r, pg_namespace n WHERE n.nspname !~ '^pg_(toast|temp)' AND has_schema_privilege(r.oid, n.oid, 'CREATE')
	UNION ALL SELECT 'schema ' || n.nspname, 'changed: it belongs to ' || n.nspowner::regrole::text FROM pg_namespace n, owner o WHERE n.nspname = $1::text AND n.nspowner <> o.oid
	UNION ALL SELECT 'database ' || current_database(), 'too many privileges: ' || r.rolname || ' may create schemas' FROM reader r WHERE has_database_privilege(r.oid, current_database(), 'CREATE')
	UNION ALL SELECT 'schema ' || n.nspname, 'missing: ' || r.rolname || ' may not use it' FROM reader r, pg_namespace n WHERE n.nspname = $1::text AND NOT has_schema_privilege(r.oid, n.oid, 'USAGE')
	UNION ALL SELECT c.oid::regclass::text, 'missing: ' || r.rolname || ' may not read it' FROM reader r, pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1::text AND c.relkind = 'v' AND NOT has_table_privilege(r.oid, c.oid, 'SELECT')
	ORDER BY 1, 2`

// installed are the relations in the masked schema, sorted.
func installed(cat *catalog, schema string) []*relation {
	var out []*relation
	for _, r := range cat.relations {
		if r.schema == schema {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(x, y *relation) int { return strings.Compare(x.name, y.name) })
	return out
}

func quotedNames(n connectors.MaskNames) connectors.MaskNames {
	return connectors.MaskNames{Schema: quote(n.Schema), Reader: quote(n.Reader), Owner: quote(n.Owner)}
}
