package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/server"
)

// masksCommand looks after the masks that a database applies by itself.
func masksCommand(ctx context.Context, args []string, out io.Writer) (err error) {
	var path, connection, schema, dsnFile string
	var printOnly, yes bool
	rest, err := flags("masks", args, func(f *flag.FlagSet) {
		f.StringVar(&path, "config", "", "configuration file")
		f.StringVar(&connection, "connection", "", "connection of the configuration")
		f.StringVar(&schema, "schema", "", "schema of the views, if not the connection's masked_schema")
		f.StringVar(&dsnFile, "dsn-file", "", "file with the administrator's DSN, if not the environment variable "+server.MasksVariable("NAME"))
		f.BoolVar(&printOnly, "print", false, "print the SQL and do nothing")
		f.BoolVar(&yes, "yes", false, "run the SQL")
	})
	if err != nil {
		return err
	}
	if len(rest) != 1 || (rest[0] != "apply" && rest[0] != "diff" && rest[0] != "drop") {
		return errors.New("write masks apply, masks diff or masks drop")
	}
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	ref := config.SecretRef{File: dsnFile}
	if dsnFile == "" {
		ref.Env = server.MasksVariable(connection)
	}
	dsn, err := ref.Resolve()
	if err != nil {
		return fmt.Errorf("the administrator's DSN: %w", err)
	}
	masks, names, err := server.OpenMasks(ctx, cfg, connection, schema, dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, masks.Close(context.WithoutCancel(ctx))) }()
	switch rest[0] {
	case "apply":
		if err := runMasks(ctx, masks.Script, masks.Apply, out, yes && !printOnly); err != nil || printOnly || !yes {
			return err
		}
		fmt.Fprintf(out, "applied; give the minted users the role %s and no other\n", names.Reader)
	case "drop":
		return runMasks(ctx, masks.DropScript, masks.Drop, out, yes && !printOnly)
	}
	return differences(ctx, masks, out)
}

// runMasks shows a script, or runs it.
func runMasks(ctx context.Context, script func(context.Context) ([]string, error), run func(context.Context) error, out io.Writer, yes bool) error {
	if yes {
		return run(ctx)
	}
	statements, err := script(ctx)
	if err != nil {
		return err
	}
	for _, s := range statements {
		if !strings.HasPrefix(s, "--") {
			s += ";"
		}
		fmt.Fprintln(out, s)
	}
	fmt.Fprintln(out, "-- Nothing was changed. Read this, then run it again with --yes.")
	return nil
}

// differences lists what is not as it should be.
func differences(ctx context.Context, masks connectors.Masks, out io.Writer) error {
	list, err := masks.Diff(ctx)
	if err != nil {
		return err
	}
	for _, d := range list {
		fmt.Fprintf(out, "%s: %s\n", d.Object, d.Problem)
	}
	if len(list) > 0 {
		return errFindings
	}
	fmt.Fprintln(out, "the masks in the database are what the configuration asks for")
	return nil
}
