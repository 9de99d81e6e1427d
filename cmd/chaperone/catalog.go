package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/internal/rehearsal"
	"github.com/chaperone-sql/chaperone/internal/server"
)

// catalogCommand saves what the gateway knows of a database, so that statements
// can be tried without it.
func catalogCommand(ctx context.Context, args []string, out io.Writer) (err error) {
	if len(args) == 0 || args[0] != "save" {
		return errors.New("catalog save?")
	}
	var path, connection, file string
	if _, err := flags("catalog save", args[1:], func(f *flag.FlagSet) {
		f.StringVar(&path, "config", "", "configuration file")
		f.StringVar(&connection, "connection", "", "name of the connection")
		f.StringVar(&file, "out", "", "file to write")
	}); err != nil {
		return err
	}
	if path == "" || connection == "" || file == "" {
		return errors.New("catalog save needs --config, --connection and --out")
	}
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	live, err := server.OpenReadOnly(ctx, cfg, connection)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, live.Close(ctx)) }()
	cat, err := live.Catalog(ctx)
	if err != nil {
		return err
	}
	f, err := os.Create(file) //nolint:gosec // the operator's own path
	if err != nil {
		return err
	}
	if err := errors.Join(rehearsal.SaveCatalog(f, connection, cfg.Connections[connection], cat), f.Close()); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %d tables and views\n", file, len(cat.Tables()))
	return nil
}
