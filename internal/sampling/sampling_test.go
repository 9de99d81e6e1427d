package sampling

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/connectors/mysql"
	"github.com/chaperone-sql/chaperone/connectors/postgres"
	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/masking/classify"
)

// source is the administrator's credential of a test database.
type source struct {
	engine connectors.Engine
	target connectors.Target
	cred   connectors.Credential
}

func (s *source) Session(ctx context.Context) (connectors.Session, error) {
	return s.engine.Connect(ctx, s.target, s.cred)
}

// TestClinic proposes for the clinic on both engines exactly what is protected
// there, and shows no value.
func TestClinic(t *testing.T) {
	tables := clinicdata.Tables(200, 0)
	for _, engine := range []connectors.Engine{postgres.New(), mysql.New()} {
		t.Run(engine.Name(), func(t *testing.T) {
			db, prefix := testenv.MariaDB, ""
			seed := testenv.SeedMariaDB
			target := connectors.Target{ConnectTimeout: 5 * time.Second}
			if engine.Name() == "postgres" {
				db, seed, prefix = testenv.Postgres, testenv.SeedPostgres, "public."
				target.SearchPath = []string{"public"}
			}
			server := db(t)
			if err := seed(t.Context(), server, tables, "vaultpw"); err != nil {
				t.Fatal(err)
			}
			target.Host, target.Port, target.Database = server.Host, server.Port, server.Name
			s := &source{engine, target, connectors.Credential{Username: server.AdminUser, Password: masking.Secret(server.AdminPassword)}}
			session, err := s.Session(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer session.Close(context.Background())
			cat, err := session.Catalog(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			detectors, err := masking.NewDetectors(masking.DetectorConfig{MRNPattern: clinicdata.MRNPattern})
			if err != nil {
				t.Fatal(err)
			}
			sampler := Sampler{Source: s, Engine: engine, Target: target, Detectors: detectors, Rows: 100}
			stats, remarks, err := sampler.Sample(t.Context(), cat)
			if err != nil || len(remarks) > 0 {
				t.Fatal(err, remarks)
			}
			file := classify.File{Connection: "clinic", Engine: engine.Name(), Rows: 100,
				Proposals: classify.Propose(masking.HIPAASafeHarbor(), cat.Tables(), stats)}
			var b bytes.Buffer
			if err := file.Write(&b); err != nil {
				t.Fatal(err)
			}
			want := clinicdata.Decided()
			want["patients.created_at"] = "date" // the person says none
			for _, p := range file.Proposals {
				name := p.Column.Relation + "." + p.Column.Column
				if p.Class != want[name] {
					t.Errorf("%s%s is held for %s (%s, %s), not %s", prefix, name, p.Class, p.Confidence, p.Reason, want[name])
				}
				if p.Class != classify.None && p.Class != classify.Person && name != "patients.created_at" && p.Confidence != classify.High {
					t.Errorf("%s: %s %s", name, p.Confidence, p.Reason)
				}
				if s := stats[p.Column]; s == nil || s.Rows != 100 {
					t.Errorf("%s: sampled %+v", name, s)
				}
			}
			for _, canary := range clinicdata.Canaries(tables, 200) {
				if strings.Contains(b.String(), canary) {
					t.Errorf("the proposal shows %q", canary)
				}
			}
			t.Log("\n" + b.String())
		})
	}
}
