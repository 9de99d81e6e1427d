package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
)

// differencing lists aggregates of one caller that nearly repeat one another.
func differencing(ctx context.Context, args []string, out io.Writer) error {
	var s source
	var f evidence.Filter
	var asJSON bool
	rest, err := flags("evidence differencing", args, func(set *flag.FlagSet) {
		s.define(set)
		set.Var((*moment)(&f.Since), "since", "from this time on (RFC 3339, or a date)")
		set.Var((*moment)(&f.Until), "until", "before this time (RFC 3339, or a date)")
		set.StringVar(&f.Principal, "principal", "", "of this subject only, or ISSUER#SUBJECT")
		set.BoolVar(&asJSON, "json", false, "print JSON")
	})
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return errors.New("evidence differencing takes no further words")
	}
	if err := s.open(ctx); err != nil {
		return err
	}
	list, err := evidence.Differencing(ctx, evidence.NewReader(s.store, s.trusted), f)
	if err != nil {
		return err
	}
	if asJSON {
		if list == nil {
			list = []evidence.Difference{}
		}
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(list)
	}
	for _, d := range list {
		what := "the same aggregate with other values"
		if d.Kind == "predicate" {
			what = "aggregates that differ in one condition"
		}
		fmt.Fprintf(out, "%q on %s: %d answers of %s, over %s, from %s to %s\n", d.Principal, d.Connection, d.Count, what,
			strings.Join(d.Tables, ", "), d.First.UTC().Format(time.RFC3339), d.Last.UTC().Format(time.RFC3339))
		for _, text := range d.Statements {
			fmt.Fprintf(out, "  %q\n", text)
		}
		fmt.Fprintf(out, "  queries %s\n", strings.Join(d.QueryIDs, " "))
	}
	fmt.Fprintf(out, "%d to look at\n", len(list))
	return nil
}
