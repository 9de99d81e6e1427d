package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/internal/server"
	"github.com/chaperone-sql/chaperone/worm"
	"github.com/chaperone-sql/chaperone/worm/dir"
)

// source is where evidence is read from, and whose signatures count.
type source struct {
	config, dir, keys string
	copied            bool
	store             worm.Store
	trusted           note.Verifiers
}

func (s *source) define(f *flag.FlagSet) {
	f.StringVar(&s.config, "config", "", "configuration file: read the store it names")
	f.StringVar(&s.dir, "dir", "", "folder made by `chaperone evidence fetch`")
	f.StringVar(&s.keys, "keys", "", "file of public keys; default the configuration's evidence.verifier_keys")
}

func (s *source) open(ctx context.Context) (err error) {
	keyFile := s.keys
	switch {
	case (s.config == "") == (s.dir == ""):
		return errors.New("give either --config or --dir")
	case s.dir != "":
		s.copied = true
		s.store, err = dir.New(dir.Config{Path: s.dir, ReadOnly: true})
	default:
		var cfg *config.Config
		if cfg, err = config.Load(s.config); err != nil {
			return err
		}
		if keyFile == "" {
			keyFile = cfg.Evidence.VerifierKeys
		}
		s.store, err = server.OpenStore(ctx, cfg)
	}
	if err != nil {
		return err
	}
	if keyFile == "" {
		return errors.New("give --keys FILE: without public keys nothing can be believed")
	}
	s.trusted, err = evidence.LoadVerifiers(keyFile)
	return err
}

func evidenceCommand(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("evidence verify, fetch, replay, differencing or open?")
	}
	switch args[0] {
	case "verify":
		return verify(ctx, args[1:], out)
	case "fetch":
		return fetch(ctx, args[1:], out)
	case "replay":
		return replay(ctx, args[1:], out)
	case "differencing":
		return differencing(ctx, args[1:], out)
	case "open":
		return openSealed(ctx, args[1:], out)
	}
	return fmt.Errorf("there is no command evidence %q; there are verify, fetch, replay, differencing and open", args[0])
}

// verify checks everything and prints what is wrong.
func verify(ctx context.Context, args []string, out io.Writer) error {
	var s source
	var asJSON bool
	if _, err := flags("evidence verify", args, func(f *flag.FlagSet) {
		s.define(f)
		f.BoolVar(&asJSON, "json", false, "print the report as JSON")
	}); err != nil {
		return err
	}
	if err := s.open(ctx); err != nil {
		return err
	}
	options := evidence.Options{Copy: s.copied}
	if !s.copied {
		options.Now = time.Now()
	}
	report, err := evidence.Verify(ctx, s.store, s.trusted, options)
	if err != nil {
		return err
	}
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(report); err != nil {
			return err
		}
	} else {
		printReport(out, report)
	}
	if len(report.Findings) > 0 {
		return errFindings
	}
	return nil
}

func printReport(out io.Writer, r *evidence.Report) {
	for _, f := range r.Findings {
		fmt.Fprintf(out, "FINDING  %s %s %s: %s\n", f.Kind, f.Object, f.Record, f.Message)
	}
	for _, f := range r.Notes {
		fmt.Fprintf(out, "note     %s %s: %s\n", f.Object, f.Record, f.Message)
	}
	fmt.Fprintf(out, "%d objects, %d writers, %d segments, %d records, %d queries (%d interrupted), from %s to %s\n", r.Objects,
		r.Writers, r.Segments, r.Records, r.Queries, r.Interrupted, r.First.Format(time.RFC3339), r.Last.Format(time.RFC3339))
	if len(r.Findings) == 0 {
		fmt.Fprintln(out, "clean: every record is there, in order, signed and unchanged")
	}
}

// fetch copies the evidence out of the store, to be verified anywhere.
func fetch(ctx context.Context, args []string, out io.Writer) error {
	var s source
	var to string
	if _, err := flags("evidence fetch", args, func(f *flag.FlagSet) {
		s.define(f)
		f.StringVar(&to, "to", "", "folder for the copy")
	}); err != nil {
		return err
	}
	if to == "" {
		return errors.New("give --to DIR")
	}
	if err := s.open(ctx); err != nil {
		return err
	}
	target, err := dir.New(dir.Config{Path: to})
	if err != nil {
		return err
	}
	got, err := evidence.Fetch(ctx, s.store, target, "evidence/", "approvals/")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "copied %d objects to %s\n", got.Objects, to)
	return nil
}

// replay tells a session or a query as it happened.
func replay(ctx context.Context, args []string, out io.Writer) error {
	var s source
	rest, err := flags("evidence replay", args, s.define)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return errors.New("name one session or query")
	}
	if err := s.open(ctx); err != nil {
		return err
	}
	err = evidence.Replay(ctx, evidence.NewReader(s.store, s.trusted), rest[0], out)
	if errors.Is(err, worm.ErrNotFound) {
		return fmt.Errorf("there is no session or query %q", rest[0])
	}
	return err
}

// openSealed decrypts the sealed part of a record on the auditor's machine.
func openSealed(ctx context.Context, args []string, out io.Writer) error {
	var s source
	var identity string
	rest, err := flags("evidence open", args, func(f *flag.FlagSet) {
		s.define(f)
		f.StringVar(&identity, "identity", "", "the auditor's age identity file")
	})
	if err != nil {
		return err
	}
	if len(rest) != 1 || identity == "" {
		return errors.New("give --identity FILE and one record id")
	}
	if err := s.open(ctx); err != nil {
		return err
	}
	identities, err := evidence.LoadIdentities(identity)
	if err != nil {
		return err
	}
	record, err := evidence.NewReader(s.store, s.trusted).FindRecord(ctx, rest[0])
	if err != nil {
		return err
	}
	secret, err := evidence.OpenSealed(record, identities)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(secret)
}
