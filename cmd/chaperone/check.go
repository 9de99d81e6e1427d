package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/internal/server"
)

// check validates a configuration and tries everything it depends on.
func check(ctx context.Context, args []string, out io.Writer) error {
	var path string
	if _, err := flags("check", args, func(f *flag.FlagSet) { f.StringVar(&path, "config", "", "configuration file") }); err != nil {
		return err
	}
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	failed := 0
	fmt.Fprintf(out, "%-28s %-8s %s\n", "what", "result", "detail")
	for _, c := range server.Checks(cfg) {
		detail, err := c.Run(ctx)
		result := "ok"
		if err != nil {
			failed++
			result, detail = "WRONG", err.Error()+"; "+c.Mend
		}
		fmt.Fprintf(out, "%-28s %-8s %s\n", c.Name, result, detail)
	}
	if failed > 0 {
		return errors.New("not everything works")
	}
	fmt.Fprintln(out, "everything works")
	return nil
}
