package export

import (
	"fmt"
	"io"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
)

// The forms of an export.
const (
	FormatCSV  = "csv"
	FormatOCSF = "ocsf"
	FormatFHIR = "fhir"
)

// Writer writes records in one form. Flush must be called at the end.
type Writer interface {
	Write(r *evidence.Record) error
	Flush() error
}

// NewWriter makes a writer of a form: CSV with a header, or one JSON object a
// line (NDJSON; for FHIR as in Bulk Data Access).
func NewWriter(format string, w io.Writer) (Writer, error) {
	switch format {
	case FormatCSV:
		return NewCSV(w)
	case FormatOCSF:
		return &lines{w: w, append: func(dst []byte, r *evidence.Record) ([]byte, bool, error) {
			dst, err := OCSF(dst, r)
			return dst, true, err
		}}, nil
	case FormatFHIR:
		return &lines{w: w, append: FHIR}, nil
	}
	return nil, fmt.Errorf("there is no form %q; there are csv, ocsf and fhir", format)
}

// lines writes one object a line.
type lines struct {
	w      io.Writer
	line   []byte
	append func([]byte, *evidence.Record) ([]byte, bool, error)
}

func (l *lines) Write(r *evidence.Record) error {
	line, ok, err := l.append(l.line[:0], r)
	if err != nil || !ok {
		return err
	}
	l.line = append(line, '\n')
	_, err = l.w.Write(l.line)
	return err
}

func (l *lines) Flush() error { return nil }

// Parts are the exports of a bundle.
func Parts() []bundle.Part {
	part := func(name, format string) bundle.Part {
		return bundle.Part{Name: name, Each: func(w io.Writer) (bundle.RecordWriter, error) { return NewWriter(format, w) }}
	}
	return []bundle.Part{
		part("exports/records.csv", FormatCSV), part("exports/ocsf.ndjson", FormatOCSF), part("exports/fhir.ndjson", FormatFHIR),
	}
}
