package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/api"
	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/gateway"
	"github.com/chaperone-sql/chaperone/identity"
	"github.com/chaperone-sql/chaperone/internal/rehearsal"
)

// maxText bounds what is read from a file or standard input.
const maxText = 16 << 20

// policyCommand tries statements against the configured policy and masking.
func policyCommand(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("policy explain or test?")
	}
	switch args[0] {
	case "explain":
		return policyExplain(ctx, args[1:], in, out)
	case "test":
		return policyTest(ctx, args[1:], in, out)
	}
	return fmt.Errorf("there is no command policy %q; there are explain and test", args[0])
}

// staging are the flags that both have.
type staging struct {
	config   string
	catalogs []string
	json     bool
}

func (s *staging) define(f *flag.FlagSet) {
	f.StringVar(&s.config, "config", "", "configuration file")
	f.Func("catalog", "file made by `chaperone catalog save`; once for each connection, others are asked live", func(path string) error {
		s.catalogs = append(s.catalogs, path)
		return nil
	})
	f.BoolVar(&s.json, "json", false, "print JSON")
}

// open reads the configuration; with saved catalogs its secrets may be missing.
func (s *staging) open() (*config.Config, *rehearsal.Stage, error) {
	if s.config == "" {
		return nil, nil, errors.New("give --config FILE")
	}
	cfg, err := config.Load(s.config)
	var problems config.Problems
	if len(s.catalogs) > 0 && errors.As(err, &problems) {
		cfg, err = config.LoadOffline(s.config)
	}
	if err != nil {
		return nil, nil, err
	}
	stage, err := rehearsal.New(cfg, s.catalogs)
	return cfg, stage, err
}

func policyTest(ctx context.Context, args []string, in io.Reader, out io.Writer) (err error) {
	var s staging
	files, err := flags("policy test", args, s.define)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return errors.New("which file of statements?")
	}
	_, stage, err := s.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.Close(ctx)) }()
	failed, all := 0, []rehearsal.Result{}
	for _, file := range files {
		text, err := readText(file, in)
		if err != nil {
			return err
		}
		suite, err := rehearsal.ParseSuite(file, text)
		if err != nil {
			return err
		}
		results, err := stage.Run(ctx, suite)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		for _, r := range results {
			all = append(all, r)
			if r.Passed {
				continue
			}
			failed++
			if !s.json {
				rehearsal.PrintFailure(out, file, &r)
			}
		}
	}
	if s.json {
		if err := printJSON(out, map[string]any{"passed": len(all) - failed, "failed": failed, "statements": all}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "%d of %d statements are as expected\n", len(all)-failed, len(all))
	}
	if failed > 0 {
		return errFindings
	}
	return nil
}

func policyExplain(ctx context.Context, args []string, in io.Reader, out io.Writer) (err error) {
	var s staging
	var connection, request, roles string
	words, err := flags("policy explain", args, func(f *flag.FlagSet) {
		s.define(f)
		f.StringVar(&connection, "connection", "", "name of the connection")
		f.StringVar(&request, "request", "", "file (- is standard input) with the JSON of POST /v1/queries: statement, parameters and all")
		f.StringVar(&roles, "roles", "agent", "roles of the caller, separated by commas")
	})
	if err != nil {
		return err
	}
	body, err := requestBody(connection, request, words, in)
	if err != nil {
		return err
	}
	q, err := api.DecodeQuery(body)
	if err != nil {
		return err
	}
	cfg, stage, err := s.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.Close(ctx)) }()
	if _, ok := cfg.Connections[q.Connection]; !ok {
		return fmt.Errorf("there is no connection %q in the configuration", q.Connection)
	}
	who := &identity.Principal{Roles: map[string][]identity.Role{}}
	for role := range strings.SplitSeq(roles, ",") {
		who.Roles[q.Connection] = append(who.Roles[q.Connection], identity.Role(strings.TrimSpace(role)))
	}
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	answer, err := stage.Try(ctx, rehearsal.Question{Request: q, Principal: who})
	if err != nil {
		return err
	}
	if s.json {
		err = printRehearsed(out, answer)
	} else {
		rehearsal.Print(out, answer)
	}
	if err == nil && answer.Explanation == nil {
		return errFindings
	}
	return err
}

// requestBody is the JSON of a request, from what the command line says.
func requestBody(connection, request string, words []string, in io.Reader) ([]byte, error) {
	switch {
	case request != "" && len(words) > 0:
		return nil, errors.New("give either a statement or --request")
	case request != "":
		return readText(request, in)
	case len(words) != 1:
		return nil, errors.New("give one statement, in quotes, or - to read it from standard input")
	case connection == "":
		return nil, errors.New("give --connection NAME")
	}
	statement := words[0]
	if statement == "-" {
		text, err := readText("-", in)
		if err != nil {
			return nil, err
		}
		statement = string(text)
	}
	return json.Marshal(map[string]string{"connection": connection, "statement": statement})
}

// readText reads a file, or standard input for "-".
func readText(file string, in io.Reader) ([]byte, error) {
	if file != "-" {
		f, err := os.Open(file) //nolint:gosec // the operator's own path
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxText+1))
	if err == nil && len(text) > maxText {
		err = errors.New("more than 16 MiB")
	}
	return text, err
}

// printRehearsed prints the body of a dry run over HTTP, or its problem.
func printRehearsed(out io.Writer, answer *gateway.Rehearsed) error {
	if answer.Explanation == nil {
		p := answer.Problem
		return printJSON(out, map[string]any{"decision": "refused", "code": p.Code, "detail": p.Detail, "hint": p.Hint, "position": p.Position})
	}
	text, err := api.DryRunJSON(&gateway.Answer{DryRun: answer.Explanation})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", text)
	return err
}

func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
