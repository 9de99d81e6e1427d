package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
	"github.com/chaperone-sql/chaperone/evidence/export"
)

// recordsOf gives the records that match a filter, by time.
type recordsOf func(f evidence.Filter, yield func(*evidence.Record) bool) error

// exportRecords writes records for other programs.
func exportRecords(ctx context.Context, args []string, out io.Writer) error {
	var s source
	var filter evidence.Filter
	var zipped, format, to string
	rest, err := flags("evidence export", args, func(f *flag.FlagSet) {
		s.define(f)
		filterFlags(f, &filter)
		f.StringVar(&zipped, "bundle", "", "a bundle: the zip, or the folder it was unpacked into")
		f.StringVar(&format, "format", "", "csv, ocsf (OCSF 1.8, one event a line) or fhir (R4 AuditEvent, one resource a line)")
		f.StringVar(&to, "out", "", "file for the export; default standard output")
	})
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("%q is too much: the records are chosen by flags", rest[0])
	}
	if _, err := export.NewWriter(format, io.Discard); err != nil {
		return fmt.Errorf("give --format: %w", err)
	}
	write := func(w io.Writer) error { return s.export(ctx, w, zipped, format, filter) }
	if to == "" {
		return write(out)
	}
	return writeWhole(to, write)
}

// export writes what a filter chooses of a bundle, a store or a copy of one.
func (s *source) export(ctx context.Context, w io.Writer, zipped, format string, f evidence.Filter) (err error) {
	if zipped == "" {
		if err := s.open(ctx); err != nil {
			return err
		}
		// The reader checks the signature of each segment that it reads.
		reader := evidence.NewReader(s.store, s.trusted)
		return writeExport(w, format, f, func(f evidence.Filter, yield func(*evidence.Record) bool) error {
			return reader.Records(ctx, f, yield)
		})
	}
	if s.config != "" || s.dir != "" {
		return errors.New("give one of --config, --dir and --bundle")
	}
	b, err := openBundle(zipped, s.keys)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	report, err := b.verify(ctx, s.keys, evidence.Options{})
	if err != nil {
		return err
	}
	if n := len(report.Findings); n > 0 {
		// What was made from it would look as good as what is sound.
		return fmt.Errorf("the bundle has %d findings and is not exported; `chaperone evidence verify` lists them", n)
	}
	return writeExport(w, format, f, func(f evidence.Filter, yield func(*evidence.Record) bool) error {
		return bundle.Records(b.files, f, yield)
	})
}

// writeExport writes what the filter chooses, as a bundle of it would.
func writeExport(out io.Writer, format string, f evidence.Filter, records recordsOf) error {
	buffered := bufio.NewWriterSize(out, 1<<16)
	w, err := export.NewWriter(format, buffered)
	if err != nil {
		return err
	}
	var failed error
	err = bundle.Choose(f, records, func(r *evidence.Record) bool {
		failed = w.Write(r)
		return failed == nil
	})
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	return errors.Join(w.Flush(), buffered.Flush())
}
