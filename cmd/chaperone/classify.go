package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/internal/sampling"
	"github.com/chaperone-sql/chaperone/internal/server"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/masking/classify"
)

// classifyCommand proposes the classes of a connection's columns.
func classifyCommand(ctx context.Context, args []string, out io.Writer) error {
	var path, connection, file, previous string
	var rows int
	if _, err := flags("classify", args, func(f *flag.FlagSet) {
		f.StringVar(&path, "config", "", "configuration file")
		f.StringVar(&connection, "connection", "", "name of the connection")
		f.IntVar(&rows, "sample", 200, "rows to look at of each table; 0 looks at none")
		f.StringVar(&previous, "previous", "", "file of an earlier run, edited perhaps: its decisions stand, and what changed is listed")
		f.StringVar(&file, "out", "", "file to write; default standard output")
	}); err != nil {
		return err
	}
	if path == "" || connection == "" || rows < 0 || rows > 100_000 {
		return errors.New("classify needs --config, --connection and a --sample of at most 100000")
	}
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	proposed := classify.File{Connection: connection, Rows: rows}
	if previous != "" {
		text, err := readText(previous, nil)
		if err != nil {
			return err
		}
		if proposed.Previous, err = classify.ReadPrevious(bytes.NewReader(text)); err != nil {
			return fmt.Errorf("%s: %w", previous, err)
		}
	}
	if _, err := os.Stat(file); file != "" && file != previous && err == nil {
		return fmt.Errorf("%s is there already; give it as --previous, or write another", file)
	}
	if err := propose(ctx, cfg, &proposed); err != nil {
		return err
	}
	var text bytes.Buffer
	if err := proposed.Write(&text); err != nil {
		return err
	}
	if file == "" {
		_, err = text.WriteTo(out)
		return err
	}
	return os.WriteFile(file, text.Bytes(), 0o644) //nolint:gosec // names and classes; no secret, no data
}

// propose looks at the database with a credential that can only read.
func propose(ctx context.Context, cfg *config.Config, f *classify.File) (err error) {
	profile, err := cfg.Masking.NewProfile()
	if err != nil {
		return err
	}
	detectors, err := masking.NewDetectors(masking.DetectorConfig{Names: masking.DetectorNames(), MRNPattern: cfg.Masking.MRNPattern})
	if err != nil {
		return err
	}
	live, err := server.OpenReadOnly(ctx, cfg, f.Connection)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, live.Close(ctx)) }()
	cat, err := live.Catalog(ctx)
	if err != nil {
		return err
	}
	f.Engine = live.Database.Engine.Name()
	sampler := sampling.Sampler{Source: live, Engine: live.Database.Engine, Target: live.Database.Target, Detectors: detectors, Rows: f.Rows}
	stats, remarks, err := sampler.Sample(ctx, cat)
	if err != nil {
		return err
	}
	f.Remarks, f.Proposals = remarks, classify.Propose(profile, cat.Tables(), stats)
	return nil
}
