package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/approvals"
	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/internal/server"
	"github.com/chaperone-sql/chaperone/worm"
)

// longestExtension is how far ahead of now retention can be extended: it cannot be
// undone, so a slip of the pen must not lock for centuries.
const longestExtension = 30 * config.Year

// auditorAct is what the commands hold and extend share.
type auditorAct struct{ config, key, reason string }

func (a *auditorAct) define(f *flag.FlagSet) {
	f.StringVar(&a.config, "config", "", "the auditor's configuration: sections store and evidence")
	f.StringVar(&a.key, "key", "", "file of the auditor's signing key; default the configuration's evidence.signing_key")
	f.StringVar(&a.reason, "reason", "", "why; sealed to the auditors")
}

// holder opens what the auditor's configuration names.
func (a *auditorAct) holder(ctx context.Context) (*evidence.Holder, error) {
	switch {
	case a.config == "":
		return nil, errors.New("give --config FILE")
	case strings.TrimSpace(a.reason) == "":
		return nil, errors.New("give --reason TEXT")
	}
	cfg, err := config.LoadAuditor(a.config)
	if err != nil {
		return nil, err
	}
	signer, err := a.signer(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Evidence.VerifierKeys == "" {
		return nil, errors.New("the configuration names no evidence.verifier_keys: without public keys nothing can be believed")
	}
	trusted, err := evidence.LoadVerifiers(cfg.Evidence.VerifierKeys)
	if err != nil {
		return nil, err
	}
	recipients, err := server.Auditors(cfg)
	if err != nil {
		return nil, err
	}
	store, err := server.OpenStore(ctx, cfg)
	if err != nil {
		return nil, err
	}
	locks, ok := store.(worm.Retention)
	if !ok {
		return nil, errors.New("this store has no locks: a directory cannot hold or extend anything")
	}
	return &evidence.Holder{Store: store, Locks: locks, Trusted: trusted, Signer: signer, Auditors: recipients,
		Beside: evidence.Beside{Root: approvals.Root, Hour: approvals.Hour}, Clock: time.Now}, nil
}

func (a *auditorAct) signer(cfg *config.Config) (*evidence.Signer, error) {
	if a.key != "" {
		return evidence.LoadSigner(a.key)
	}
	if cfg.Evidence.SigningKey == (config.SecretRef{}) {
		return nil, errors.New("give --key FILE, or evidence.signing_key in the configuration")
	}
	return server.SigningKey(cfg)
}

// hold sets or lifts the legal hold of a query's or a session's evidence.
func hold(ctx context.Context, args []string, out io.Writer) error {
	var a auditorAct
	var target evidence.HoldTarget
	var release bool
	rest, err := flags("evidence hold", args, func(f *flag.FlagSet) {
		a.define(f)
		f.StringVar(&target.QueryID, "query", "", "the query whose evidence is to be held")
		f.StringVar(&target.SessionID, "session", "", "the session whose queries' evidence is to be held")
		f.BoolVar(&release, "release", false, "lift the hold")
	})
	if err != nil {
		return err
	}
	if len(rest) > 0 || (target.QueryID == "") == (target.SessionID == "") {
		return errors.New("give either --query or --session")
	}
	h, err := a.holder(ctx)
	if err != nil {
		return err
	}
	act, verb := h.Hold, "held"
	if release {
		act, verb = h.Release, "released"
	}
	report, err := act(ctx, target, a.reason)
	return printHeld(out, report, err, target, verb)
}

// extend locks the evidence of a period for longer.
func extend(ctx context.Context, args []string, out io.Writer) error {
	var a auditorAct
	var since, until, to moment
	rest, err := flags("evidence extend", args, func(f *flag.FlagSet) {
		a.define(f)
		f.Var(&since, "since", "beginning of the period: 2026-11-01 or 2026-11-01T08:00:00Z")
		f.Var(&until, "until", "end of the period, which is not in it")
		f.Var(&to, "to", "until when all of it stays locked")
	})
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("there is nothing to do with %q", rest[0])
	}
	from, end, date := time.Time(since), time.Time(until), time.Time(to)
	if from.IsZero() || date.IsZero() || !from.Before(end) {
		return errors.New("give --since, --until after it, and --to")
	}
	if limit := time.Now().Add(longestExtension); date.After(limit) {
		return fmt.Errorf("--to is at most 30 years ahead (%s): it can never be undone", limit.Format(time.DateOnly))
	}
	h, err := a.holder(ctx)
	if err != nil {
		return err
	}
	target := evidence.HoldTarget{Since: &from, Until: &end}
	report, err := h.Extend(ctx, target, date, a.reason)
	return printHeld(out, report, err, target, "locked until "+date.Format(time.RFC3339))
}

// printHeld says what was done, in the words of the person who reads it.
func printHeld(out io.Writer, r *evidence.HeldReport, err error, target evidence.HoldTarget, verb string) error {
	if errors.Is(err, worm.ErrNotFound) {
		return fmt.Errorf("there is no evidence of %s", target)
	}
	if err != nil {
		return err
	}
	if r.Resumed {
		fmt.Fprintln(out, "carried on an order that had been broken off")
	}
	for _, order := range r.Orders {
		fmt.Fprintf(out, "order %s\n", order)
	}
	fmt.Fprintf(out, "%s: %d segments and %d other objects; %d %s now", target, r.Segments, r.Others, r.Changed, verb)
	if r.Already > 0 {
		fmt.Fprintf(out, ", %d were so before", r.Already)
	}
	if r.Kept > 0 {
		fmt.Fprintf(out, ", %d stay on hold by another order", r.Kept)
	}
	fmt.Fprintln(out)
	if len(r.Orders) == 0 && r.By != "" {
		fmt.Fprintf(out, "nothing was left to do since %s\n", r.By)
	}
	return nil
}
