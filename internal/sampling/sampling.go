// Package sampling looks at some rows of a database's tables, for proposals of
// how to classify them. It keeps counts, never values.
package sampling

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/masking/classify"
)

// timeout bounds the look at one table.
const timeout = 10 * time.Second

// Source opens sessions with a credential that can only read.
type Source interface {
	Session(ctx context.Context) (connectors.Session, error)
}

// Sampler looks at tables.
type Sampler struct {
	Source    Source
	Engine    connectors.Engine
	Target    connectors.Target
	Detectors *masking.Detectors
	// Rows bounds what is read of each table.
	Rows int
}

// Sample looks at each table. A table that cannot be read is named in remarks;
// its columns have no statistics.
func (s *Sampler) Sample(ctx context.Context, cat connectors.Catalog) (stats map[masking.ColumnRef]*classify.Stats, remarks []string, err error) {
	stats = map[masking.ColumnRef]*classify.Stats{}
	// Nothing is classified yet, so the statement stays what it is.
	nothing, err := masking.Classify(masking.HIPAASafeHarbor(), nil)
	if err != nil {
		return nil, nil, err
	}
	for _, t := range cat.Tables() {
		if !classify.Covers(t) || s.Rows <= 0 {
			continue
		}
		err := s.table(ctx, cat, t, nothing, stats)
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		var known *connectors.Error // its words are safe, others may hold data
		switch {
		case errors.As(err, &known):
			remarks = append(remarks, fmt.Sprintf("no values of %s.%s were looked at: %s", t.Schema, t.Name, known.Message))
		case err != nil:
			remarks = append(remarks, fmt.Sprintf("no values of %s.%s were looked at", t.Schema, t.Name))
		}
	}
	return stats, remarks, nil
}

func (s *Sampler) table(ctx context.Context, cat connectors.Catalog, t connectors.Table, classes *masking.Classification,
	stats map[masking.ColumnRef]*classify.Stats,
) (err error) {
	// The time is the database's: the first analysis of a process compiles the
	// parser, which takes seconds on a busy machine.
	st, err := s.Engine.Analyze(cat, connectors.Input{Text: s.statement(t), Classes: classes, SearchPath: s.Target.SearchPath, Today: time.Now().UTC()})
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, timeout+5*time.Second)
	defer stop()
	session, err := s.Source.Session(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = session.Close(context.WithoutCancel(ctx)) }()
	if _, err := session.Prepare(ctx, st, nil, connectors.Limits{Timeout: timeout, LockTimeout: time.Second, MaxAffected: -1}); err != nil {
		return err
	}
	look := &looker{detectors: s.Detectors, table: t, rows: s.Rows}
	if _, err := session.Execute(ctx, look); err != nil {
		return err
	}
	for i, one := range look.stats {
		stats[masking.ColumnRef{Schema: t.Schema, Relation: t.Name, Column: t.Columns[i].Name}] = one
	}
	return nil
}

// statement reads some rows: the first that the server finds, without a sort
// that would have to read them all.
func (s *Sampler) statement(t connectors.Table) string {
	list := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		list[i] = s.quote(c.Name)
	}
	return fmt.Sprintf("SELECT %s FROM %s.%s LIMIT %d", strings.Join(list, ", "), s.quote(t.Schema), s.quote(t.Name), s.Rows)
}

func (s *Sampler) quote(name string) string {
	if s.Engine.Name() == "mysql" {
		return "`" + strings.ReplaceAll(name, "`", "``") + "`"
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// looker counts what passes by.
type looker struct {
	detectors *masking.Detectors
	table     connectors.Table
	stats     []*classify.Stats
	rows      int
}

// Columns implements connectors.Sink.
func (l *looker) Columns(cols []connectors.ResultColumn) error {
	if len(cols) != len(l.table.Columns) {
		return errors.New("the result has other columns than the table")
	}
	for range cols {
		l.stats = append(l.stats, classify.NewStats())
	}
	return nil
}

// Row implements connectors.Sink.
func (l *looker) Row(cells []connectors.Cell) (more bool, err error) {
	for i, c := range cells {
		l.stats[i].Add(l.detectors, l.table.Columns[i].Name, c.Text, c.Kind == connectors.CellNull)
	}
	l.rows--
	return l.rows > 0, nil
}
