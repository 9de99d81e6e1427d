package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"filippo.io/age"
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
	keyFile           string // what keys or the configuration names
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
	s.keyFile = keyFile
	s.trusted, err = evidence.LoadVerifiers(keyFile)
	return err
}

func evidenceCommand(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("evidence verify, fetch, bundle, export, replay, token, hold, extend, differencing or open?")
	}
	switch args[0] {
	case "verify":
		return verify(ctx, args[1:], out)
	case "fetch":
		return fetch(ctx, args[1:], out)
	case "bundle":
		return makeBundle(ctx, args[1:], out)
	case "export":
		return exportRecords(ctx, args[1:], out)
	case "token":
		return tokenOf(ctx, args[1:], os.Stdin, out)
	case "replay":
		return replay(ctx, args[1:], out)
	case "differencing":
		return differencing(ctx, args[1:], out)
	case "hold":
		return hold(ctx, args[1:], out)
	case "extend":
		return extend(ctx, args[1:], out)
	case "open":
		return openSealed(ctx, args[1:], out)
	}
	return fmt.Errorf("there is no command evidence %q; there are verify, fetch, bundle, export, replay, token, hold, extend, differencing and open", args[0])
}

// verify checks everything and prints what is wrong.
func verify(ctx context.Context, args []string, out io.Writer) error {
	var s source
	var zipped, kept, witnesses string
	var asJSON bool
	var options evidence.Options
	if _, err := flags("evidence verify", args, func(f *flag.FlagSet) {
		s.define(f)
		f.StringVar(&zipped, "bundle", "", "a bundle: the zip, or the folder it was unpacked into")
		f.StringVar(&kept, "checkpoints", "", "file that an earlier --json verification wrote: what was signed then must be there still")
		f.StringVar(&witnesses, "witness-keys", "", "file of keys of witnesses that you trust: every log must be cosigned by one of them")
		f.DurationVar(&options.WitnessWithin, "witness-within", 0, "until when a record must be cosigned; default what was announced, at most 1h")
		f.Func("witness-since", "since when there are witnesses (RFC 3339)", func(text string) (err error) {
			options.WitnessSince, err = time.Parse(time.RFC3339, text)
			return err
		})
		f.BoolVar(&asJSON, "json", false, "print the report as JSON")
	}); err != nil {
		return err
	}
	var err error
	if options.Checkpoints, err = keptCheckpoints(kept); err != nil {
		return err
	}
	if witnesses != "" {
		options.Witnesses, err = evidence.LoadWitnessKeys(witnesses)
	} else if options.WitnessWithin != 0 || !options.WitnessSince.IsZero() {
		err = errors.New("--witness-within and --witness-since go with --witness-keys")
	}
	if err != nil {
		return err
	}
	report, err := s.verify(ctx, zipped, options, witnesses)
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
		report.WriteText(out)
	}
	if len(report.Findings) > 0 {
		return errFindings
	}
	return nil
}

// verify verifies the bundle, or else the store or the copy of it.
// ignore are files of the auditor that may lie within a bundle's folder.
func (s *source) verify(ctx context.Context, zipped string, options evidence.Options, ignore ...string) (*evidence.Report, error) {
	if zipped != "" {
		if s.config != "" || s.dir != "" {
			return nil, errors.New("give one of --config, --dir and --bundle")
		}
		return verifyBundle(ctx, zipped, s.keys, options, ignore...)
	}
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	if options.Copy = s.copied; !s.copied {
		options.Now = time.Now()
	}
	return evidence.Verify(ctx, s.store, s.trusted, options)
}

// keptCheckpoints reads the checkpoints of an earlier report.
func keptCheckpoints(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path) // #nosec G304 -- the auditor names the file
	if err != nil {
		return nil, err
	}
	var earlier struct {
		Checkpoints map[string]string `json:"checkpoints"`
	}
	if err := json.Unmarshal(text, &earlier); err != nil || len(earlier.Checkpoints) == 0 {
		return nil, fmt.Errorf("%s holds no checkpoints: give what `chaperone evidence verify --json` printed", path)
	}
	return slices.Collect(maps.Values(earlier.Checkpoints)), nil
}

// fetchedAt is the clock of a copy: it stands at when the copy was made.
func (s *source) fetchedAt(ctx context.Context) (func() time.Time, error) {
	at, err := evidence.FetchedAt(ctx, s.store)
	return func() time.Time { return at }, err
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
	var identity string
	var asJSON bool
	rest, err := flags("evidence replay", args, func(f *flag.FlagSet) {
		s.define(f)
		f.StringVar(&identity, "identity", "", "the auditor's age identity file: also print the exact statements")
		f.BoolVar(&asJSON, "json", false, "print every record with the pauses between them, as JSON")
	})
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return errors.New("name one session or query")
	}
	var identities []age.Identity
	if identity != "" {
		if identities, err = evidence.LoadIdentities(identity); err != nil {
			return err
		}
	}
	if err := s.open(ctx); err != nil {
		return err
	}
	reader := evidence.NewReader(s.store, s.trusted)
	if asJSON {
		err = replayJSON(ctx, reader, rest[0], out, identities)
	} else {
		err = evidence.Replay(ctx, reader, rest[0], out, identities...)
	}
	if errors.Is(err, worm.ErrNotFound) {
		return fmt.Errorf("there is no session or query %q", rest[0])
	}
	return err
}

func replayJSON(ctx context.Context, r *evidence.Reader, what string, out io.Writer, identities []age.Identity) error {
	stories, err := evidence.Stories(ctx, r, what, identities...)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(stories)
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
