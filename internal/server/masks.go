package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/gateway"
	"github.com/chaperone-sql/chaperone/masking"
)

// MasksVariable is the environment variable that holds the DSN of the
// administrator who installs the masks of a connection.
func MasksVariable(connection string) string {
	return "CHAPERONE_MASKS_DSN_" + strings.ToUpper(strings.ReplaceAll(connection, "-", "_"))
}

// OpenMasks connects an administrator to look after the masks in a connection's
// database. An empty schema is the configured one, or else the usual name.
func OpenMasks(ctx context.Context, cfg *config.Config, connection, schema string, dsn masking.Secret) (connectors.Masks, connectors.MaskNames, error) {
	names := connectors.MaskNames{}
	databases, err := Databases(cfg)
	if err != nil {
		return nil, names, err
	}
	db, ok := databases[connection]
	if !ok {
		return nil, names, fmt.Errorf("there is no connection %q; there are %s", connection,
			strings.Join(slices.Sorted(maps.Keys(databases)), ", "))
	}
	c := cfg.Connections[connection]
	switch {
	case schema != "":
	case c.MaskedSchema != "":
		schema = c.MaskedSchema
	case c.Engine == "mysql":
		schema = strings.ToLower(c.Database) + "_masked"
	default:
		schema = "chaperone_masked"
	}
	if !config.MaskedSchemaName(schema) {
		return nil, names, fmt.Errorf("%q cannot be the name of a masked schema; use small letters, digits and _, at most 50", schema)
	}
	engine, ok := db.Engine.(connectors.MaskEngine)
	if !ok {
		return nil, names, fmt.Errorf("the engine %s cannot apply masks in the database", db.Engine.Name())
	}
	names = connectors.NewMaskNames(schema)
	masks, err := engine.OpenMasks(ctx, dsn, db.Target, db.Classes, names)
	return masks, names, err
}

// checkMasks sees, on a connection that reads through masked views, that the
// minted user is refused the tables themselves, and, if the environment has an
// administrator's DSN, that the views are what the configuration asks for.
func checkMasks(ctx context.Context, cfg *config.Config, name string, db *gateway.Database, cred connectors.Credential) error {
	if db.Target.MaskedSchema == "" {
		return nil
	}
	if err := refusedRaw(ctx, db, cred, cfg.Connections[name]); err != nil {
		return err
	}
	dsn := os.Getenv(MasksVariable(name))
	if dsn == "" {
		return nil
	}
	masks, _, err := OpenMasks(ctx, cfg, name, "", masking.Secret(dsn))
	if err != nil {
		return err
	}
	defer func() { _ = masks.Close(ctx) }() // nothing is pending
	differences, err := masks.Diff(ctx)
	if err != nil {
		return err
	}
	if len(differences) > 0 {
		return fmt.Errorf("the masks in the database differ in %d ways, first %s: %s (see `chaperone masks diff`)", len(differences),
			differences[0].Object, differences[0].Problem)
	}
	return nil
}

// refusedRaw asks for a protected table as the minted user and expects the
// server itself to refuse.
func refusedRaw(ctx context.Context, db *gateway.Database, cred connectors.Credential, c config.Connection) error {
	target := db.Target
	target.MaskedSchema = ""
	tables := map[string]bool{}
	for column := range c.Columns {
		parts := strings.Split(column, ".")
		if len(parts) == 2 {
			parts = append([]string{c.Database}, parts...)
		}
		mark := `"`
		if c.Engine == "mysql" {
			mark = "`"
		}
		quote := func(s string) string { return mark + strings.ReplaceAll(s, mark, mark+mark) + mark }
		tables[quote(parts[0])+"."+quote(parts[1])] = true
	}
	for table := range tables {
		err := countRaw(ctx, db.Engine, target, cred, table)
		var refused *connectors.Error
		switch {
		case err == nil:
			return fmt.Errorf("the minted user can read %s itself, not only its masked view: its role must be %s and no other", table,
				connectors.NewMaskNames(db.Target.MaskedSchema).Reader)
		case !errors.As(err, &refused) || (refused.SQLState != "42501" && refused.SQLState != "42000"):
			return fmt.Errorf("trying to read %s itself: %w", table, err)
		}
	}
	return nil
}

// countRaw has the server plan a count over a table, which needs the right to
// read it. It runs nothing.
func countRaw(ctx context.Context, e connectors.Engine, t connectors.Target, cred connectors.Credential, table string) error {
	session, err := e.Connect(ctx, t, cred)
	if err != nil {
		return err
	}
	defer func() { _ = session.Close(ctx) }() // nothing is pending
	st := &connectors.Statement{Engine: e.Name(), Kind: connectors.KindSelect, Runnable: true, Text: "SELECT count(*) FROM " + table,
		Outputs: []connectors.Output{{Name: "count"}}}
	_, err = session.Prepare(ctx, st, nil, connectors.Limits{Timeout: connectTimeout, LockTimeout: connectTimeout})
	return err
}
