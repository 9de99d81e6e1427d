package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sort"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/credentials"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/masking"
)

// Check is one thing that must work, and how to mend it.
type Check struct {
	Name, Mend string
	// Run tries it and says in a few words what it found.
	Run func(ctx context.Context) (string, error)
}

// maxSkew is how far clocks may be apart before evidence looks wrong.
const maxSkew = 30 * time.Second

// Checks are everything a configuration depends on.
func Checks(cfg *config.Config) []Check {
	checks := []Check{
		{"identity provider", "check identity.issuer and that it answers from here", func(ctx context.Context) (string, error) {
			_, err := oidc.NewProvider(ctx, cfg.Identity.Issuer)
			if err != nil {
				return "", errors.New("discovery failed")
			}
			return cfg.Identity.Issuer, nil
		}},
		{"clock", "synchronise this machine's clock (NTP)", func(ctx context.Context) (string, error) { return skew(ctx, cfg.Identity.Issuer) }},
		{"store", "the bucket needs versioning and Object Lock, and this identity s3:PutObject with lock headers, GetObject, ListBucket(Versions)",
			func(ctx context.Context) (string, error) {
				store, err := OpenStore(ctx, cfg)
				if err != nil {
					return "", err
				}
				return "create-once and locked", store.Check(ctx)
			}},
	}
	checks = append(checks, Check{"signing key", "make one with `chaperone keys signing --name " + cfg.Instance + "`, mode 0600",
		func(context.Context) (string, error) {
			signer, err := SigningKey(cfg)
			if err == nil && !evidence.SignsFor(signer.Name(), cfg.Instance) {
				err = fmt.Errorf("the key %q was not made for %q", signer.Name(), cfg.Instance)
			}
			if err != nil {
				return "", err
			}
			return signer.VerifierKey(), nil
		}})
	if cfg.Masking.TokenKey.Vault != "" {
		checks = append(checks, Check{"token key", "the AppRole needs read on that path, and the field at least 32 bytes (openssl rand -hex 32)",
			func(ctx context.Context) (string, error) {
				_, err := Tokenizer(ctx, cfg)
				return "in Vault", err
			}})
	}
	for i := range cfg.Evidence.Forward {
		f := &cfg.Evidence.Forward[i]
		checks = append(checks, Check{"forward " + f.Name, "check its url or address, its certificate and that it answers from here; its secret is not tried",
			func(ctx context.Context) (string, error) {
				sink, err := newSink(f)
				if err != nil {
					return "", err
				}
				defer sink.Close()
				return f.Type + " answers", sink.Check(ctx)
			}})
	}
	names := make([]string, 0, len(cfg.Connections))
	for name := range cfg.Connections {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		checks = append(checks, Check{"connection " + name,
			"check the issuer's role (creation and revocation statements), host, port, TLS and the rights of the group role",
			func(ctx context.Context) (string, error) { return tryConnection(ctx, cfg, name) }})
	}
	return checks
}

// skew compares clocks with the identity provider's Date header.
func skew(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", errors.New("the identity provider does not answer")
	}
	defer res.Body.Close()
	theirs, err := http.ParseTime(res.Header.Get("Date"))
	if err != nil {
		return "no Date header to compare with", nil
	}
	off := time.Since(theirs).Round(time.Second)
	if off.Abs() > maxSkew {
		return "", fmt.Errorf("this clock is off by %v", off)
	}
	return fmt.Sprintf("off by at most %v", off.Abs()+time.Second), nil
}

// tryConnection mints, connects, reads the catalog, compares it with the
// classification, and revokes.
func tryConnection(ctx context.Context, cfg *config.Config, name string) (detail string, err error) {
	issuers, err := NewIssuers(cfg, time.Now)
	if err != nil {
		return "", err
	}
	databases, err := Databases(cfg)
	if err != nil {
		return "", err
	}
	db := databases[name]
	start := time.Now()
	lease, err := issuers.Issue(ctx, credentials.Grant{Connection: name, Access: credentials.ReadOnly, TTL: db.LeaseTTL})
	if err != nil {
		return "", err
	}
	minted := time.Since(start)
	defer func() { err = errors.Join(err, issuers.Revoke(context.WithoutCancel(ctx), name, lease.ID)) }()
	session, err := db.Engine.Connect(ctx, db.Target, connectors.Credential{Username: lease.Username, Password: lease.Password})
	if err != nil {
		return "", err
	}
	defer func() { _ = session.Close(ctx) }() // the credential is revoked next
	cat, err := session.Catalog(ctx)
	if err != nil {
		return "", err
	}
	tables := cat.Tables()
	for column := range cfg.Connections[name].Columns {
		if !known(tables, cfg.Connections[name], column) {
			return "", fmt.Errorf("the classified column %s is not in the database, or not readable", column)
		}
	}
	if err := checkMasks(ctx, cfg, name, db, connectors.Credential{Username: lease.Username, Password: lease.Password}); err != nil {
		return "", err
	}
	detail = fmt.Sprintf("%d tables, minted in %v", len(tables), minted.Round(time.Millisecond))
	if n := undecided(tables, db.Classes); n > 0 {
		detail += fmt.Sprintf("; %d columns are redacted until you give them a class or none (chaperone classify)", n)
	}
	return detail, nil
}

// undecided counts the columns that are redacted because nobody decided.
func undecided(tables []connectors.Table, classes *masking.Classification) (n int) {
	for _, t := range tables {
		for _, c := range t.Columns {
			if class, _ := classes.Class(masking.ColumnRef{Schema: t.Schema, Relation: t.Name, Column: c.Name}); class.Name == masking.Unclassified {
				n++
			}
		}
	}
	return n
}

func known(tables []connectors.Table, c config.Connection, column string) bool {
	for _, t := range tables {
		for _, col := range t.Columns {
			if column == t.Schema+"."+t.Name+"."+col.Name || (c.Engine == "mysql" && column == t.Name+"."+col.Name) {
				return true
			}
		}
	}
	return false
}
