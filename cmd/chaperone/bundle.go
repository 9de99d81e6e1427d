package main

import (
	"archive/zip"
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
	"github.com/chaperone-sql/chaperone/internal/server"
)

// filterFlags are the flags of a period and of what a bundle is about.
func filterFlags(f *flag.FlagSet, filter *evidence.Filter) {
	f.Var((*moment)(&filter.Since), "since", "first moment: 2026-11-24 or 2026-11-24T08:00:00Z (UTC)")
	f.Var((*moment)(&filter.Until), "until", "moment after the last")
	f.StringVar(&filter.Principal, "principal", "", "subject, or issuer#subject, who asked or for whom")
	f.StringVar(&filter.Connection, "connection", "", "connection")
	f.StringVar(&filter.SessionID, "session", "", "session")
	f.StringVar(&filter.QueryID, "query", "", "query")
	f.StringVar(&filter.Relation, "relation", "", "table or view, schema.name")
	f.StringVar(&filter.Patient, "patient", "", "token of a person, class:token (chaperone evidence token)")
	f.StringVar(&filter.Effect, "effect", "", "allow, approve or deny")
	f.StringVar(&filter.Status, "status", "", "how it ended, such as succeeded")
}

// moment is a time on a command line.
type moment time.Time

func (m *moment) String() string {
	if time.Time(*m).IsZero() {
		return ""
	}
	return time.Time(*m).Format(time.RFC3339)
}

// Set reads a day or a time.
func (m *moment) Set(text string) error {
	var t config.Time
	if t.UnmarshalText([]byte(text)) != nil {
		return errors.New("write a day as 2026-11-24 or a time as 2026-11-24T08:00:00Z")
	}
	*m = moment(t.UTC())
	return nil
}

// makeBundle writes an evidence bundle.
func makeBundle(ctx context.Context, args []string, out io.Writer) (err error) {
	var s source
	var filter evidence.Filter
	var to, sign string
	if _, err := flags("evidence bundle", args, func(f *flag.FlagSet) {
		s.define(f)
		filterFlags(f, &filter)
		f.StringVar(&to, "out", "", "file for the bundle (.zip)")
		f.StringVar(&sign, "sign", "", "private key that signs the manifest (chaperone keys signing)")
	}); err != nil {
		return err
	}
	if to == "" {
		return errors.New("give --out FILE.zip")
	}
	if err := s.open(ctx); err != nil {
		return err
	}
	if filter.Until.IsZero() {
		filter.Until = time.Now().UTC()
	}
	cfg := bundle.Config{Store: s.store, Trusted: s.trusted, Filter: filter, Maker: "chaperone evidence bundle, version " + version,
		Parts: server.BundleParts(), Temp: filepath.Dir(to)}
	if s.copied {
		if cfg.Clock, err = s.fetchedAt(ctx); err != nil {
			return err
		}
	}
	if cfg.Keys, err = os.ReadFile(s.keyFile); err != nil { // #nosec G304 -- the auditor names the file
		return err
	}
	if sign != "" {
		if cfg.Signer, err = evidence.LoadSigner(sign); err != nil {
			return err
		}
	}
	var m *evidence.Manifest
	if err := writeWhole(to, func(w io.Writer) (err error) {
		m, err = bundle.Build(ctx, cfg, w)
		return err
	}); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %d records, %d queries of %d writers from %s to %s\n", to, m.Records, m.Queries, len(m.Runs),
		since(m), m.Until.Format(time.RFC3339))
	return nil
}

func since(m *evidence.Manifest) string {
	if m.Since.IsZero() {
		return "the beginning"
	}
	return m.Since.Format(time.RFC3339)
}

// writeWhole writes a file that appears whole or not at all, for its owner only.
func writeWhole(to string, write func(io.Writer) error) error {
	if _, err := os.Stat(to); err == nil {
		return fmt.Errorf("%s exists already", to)
	}
	f, err := os.CreateTemp(filepath.Dir(to), ".chaperone-*")
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	if err = write(w); err == nil {
		err = w.Flush()
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), to)
}

// opened is a bundle: a zip, or the folder it was unpacked into.
type opened struct {
	files fs.FS
	// own are the auditor's own files that lie beside the bundle's.
	own   []string
	close func() error
}

func openBundle(path string, beside ...string) (*opened, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		b := &opened{files: os.DirFS(path), close: func() error { return nil }}
		for _, file := range beside {
			if name, err := filepath.Rel(path, file); file != "" && err == nil && filepath.IsLocal(name) {
				b.own = append(b.own, filepath.ToSlash(name))
			}
		}
		return b, nil
	}
	z, err := zip.OpenReader(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &opened{files: &z.Reader, close: z.Close}, nil
}

func (b *opened) verify(ctx context.Context, keys string, options evidence.Options) (*evidence.Report, error) {
	if keys == "" {
		return nil, errors.New("give --keys FILE: without public keys nothing can be believed")
	}
	trusted, err := evidence.LoadVerifiers(keys)
	if err != nil {
		return nil, err
	}
	return evidence.VerifyBundle(ctx, b.files, trusted, options, b.own...)
}

// verifyBundle verifies a zip, or the folder it was unpacked into; beside are
// files of the auditor's that may lie in it.
func verifyBundle(ctx context.Context, path, keys string, options evidence.Options, beside ...string) (report *evidence.Report, err error) {
	b, err := openBundle(path, append(beside, keys)...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	return b.verify(ctx, keys, options)
}

// tokenOf prints the token of an identifier, which it reads from standard input:
// what is on a command line is visible to everybody.
func tokenOf(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	var path, class string
	if _, err := flags("evidence token", args, func(f *flag.FlagSet) {
		f.StringVar(&path, "config", "", "configuration file, for masking.token_key")
		f.StringVar(&class, "class", "mrn", "class of the identifier")
	}); err != nil {
		return err
	}
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	tokens, err := server.Tokenizer(ctx, cfg)
	if err != nil {
		return err
	}
	value, err := io.ReadAll(io.LimitReader(in, 1<<12))
	if err != nil {
		return err
	}
	text := strings.TrimRight(string(value), "\r\n")
	if text == "" {
		return errors.New("write the identifier on standard input")
	}
	fmt.Fprintf(out, "%s\n", tokens.AppendToken([]byte(class+":"), class, []byte(text)))
	return nil
}
