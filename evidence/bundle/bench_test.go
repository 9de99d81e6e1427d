package bundle_test

import (
	"archive/zip"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
	"github.com/chaperone-sql/chaperone/evidence/export"
	"github.com/chaperone-sql/chaperone/evidence/report"
)

var dayQueries = flag.Int("day", 3000, "queries in the day of BenchmarkDay")

// BenchmarkDay makes a day of three gateways through the recorder, verifies the
// store, bundles it without report and exports ("bare") and with them, and
// verifies the bundle with both verifiers. Memory is the highest resident size of a
// process of its own for each step.
//
//	go test -run xxx -bench Day -benchtime 1x -timeout 0 ./evidence/bundle -day 100000
func BenchmarkDay(b *testing.B) {
	step := os.Getenv("BUNDLE_BENCH_STEP")
	if step != "" {
		benchStep(b, step)
		return
	}
	for range b.N {
		w := newWorld(b)
		w.at(time.Hour)
		record := time.Now()
		recordDay(b, w, *dayQueries)
		b.ReportMetric(float64(*dayQueries)/time.Since(record).Seconds(), "recorded/s")
		w.at(25 * time.Hour)
		keys, zipped := filepath.Join(b.TempDir(), "keys"), filepath.Join(b.TempDir(), "day.zip")
		must(b, os.WriteFile(keys, []byte(w.public+"\n"), 0o600))
		self, err := os.Executable()
		must(b, err)
		measured := func(name string, cmd *exec.Cmd) {
			began := time.Now()
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%s: %v\n%s", name, err, out)
			}
			b.ReportMetric(time.Since(began).Seconds(), name+"-s")
			b.ReportMetric((cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), name+"-cpu-s")
			b.ReportMetric(float64(maxResident(cmd))/(1<<20), name+"-MiB")
		}
		part := func(name string) *exec.Cmd {
			cmd := exec.Command(self, "-test.run", "xxx", "-test.bench", "Day", "-test.benchtime", "1x") // #nosec G204 -- this test
			cmd.Env = append(os.Environ(), "BUNDLE_BENCH_STEP="+name, "BUNDLE_BENCH_STORE="+w.path, "BUNDLE_BENCH_KEYS="+keys,
				"BUNDLE_BENCH_ZIP="+zipped, "BUNDLE_BENCH_NOW="+strconv.FormatInt(w.now.Load(), 10))
			return cmd
		}
		measured("store", part("store"))
		measured("bare", part("bare"))
		must(b, os.Remove(zipped))
		measured("build", part("build"))
		measured("go", part("verify"))
		measured("python", exec.Command("python3", "verify.py", "--keys", keys, zipped)) // #nosec G204 -- our own
		info, err := os.Stat(zipped)
		must(b, err)
		b.ReportMetric(float64(info.Size())/(1<<20), "zip-MiB")
		z, err := zip.OpenReader(zipped)
		must(b, err)
		var whole uint64
		for _, f := range z.File {
			whole += f.UncompressedSize64
			if name, ok := strings.CutPrefix(f.Name, "exports/"); ok {
				b.ReportMetric(float64(f.UncompressedSize64)/(1<<20), name+"-MiB")
				b.ReportMetric(float64(f.CompressedSize64)/(1<<20), name+"-zip-MiB")
			}
		}
		must(b, z.Close())
		b.ReportMetric(float64(whole)/(1<<20), "unpacked-MiB")
		b.ReportMetric(0, "ns/op")
	}
}

// maxResident is a process' highest resident size in bytes.
func maxResident(cmd *exec.Cmd) int64 {
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return usage.Maxrss << 10
}

// benchStep is one measured step, in a process of its own.
func benchStep(b *testing.B, step string) {
	keys, err := os.ReadFile(os.Getenv("BUNDLE_BENCH_KEYS"))
	must(b, err)
	trusted, err := evidence.ParseVerifiers(keys)
	must(b, err)
	now, err := strconv.ParseInt(os.Getenv("BUNDLE_BENCH_NOW"), 10, 64)
	must(b, err)
	zipped := os.Getenv("BUNDLE_BENCH_ZIP")
	if step == "verify" {
		z, err := zip.OpenReader(zipped)
		must(b, err)
		report, err := evidence.VerifyBundle(context.Background(), &z.Reader, trusted, evidence.Options{})
		must(b, errors.Join(err, z.Close()))
		if len(report.Findings) > 0 {
			b.Fatalf("findings %+v", report.Findings[:1])
		}
		return
	}
	store := openDir(b, os.Getenv("BUNDLE_BENCH_STORE"))
	if step == "store" {
		report, err := evidence.Verify(context.Background(), store, trusted, evidence.Options{Copy: true})
		must(b, err)
		if len(report.Findings) > 0 {
			b.Fatalf("findings %+v", report.Findings[:1])
		}
		return
	}
	f, err := os.Create(zipped)
	must(b, err)
	var parts []bundle.Part
	if step == "build" {
		parts = append(export.Parts(), report.Part())
	}
	_, err = bundle.Build(context.Background(), bundle.Config{Store: store, Trusted: trusted, Keys: keys, Maker: "a benchmark", Parts: parts,
		Filter: evidence.Filter{Since: day, Until: day.Add(24 * time.Hour)}, Temp: filepath.Dir(zipped),
		Clock: func() time.Time { return time.Unix(0, now) }}, f)
	must(b, errors.Join(err, f.Close()))
}

// recordDay records queries of three gateways, 16 agents at each, whose clocks
// go through the day.
func recordDay(b *testing.B, w *world, queries int) {
	var group sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for g := range 3 {
		l := w.open(b, "gw-"+strconv.Itoa(g))
		var agents sync.WaitGroup
		for a := range 16 {
			agents.Go(func() {
				for {
					mu.Lock()
					if done == queries {
						mu.Unlock()
						return
					}
					done++
					w.at(time.Hour + time.Duration(done)*22*time.Hour/time.Duration(queries))
					mu.Unlock()
					w.wideQuery(b, l, fmt.Sprintf("agent-%d", a))
				}
			})
		}
		group.Go(func() {
			agents.Wait()
			mu.Lock()
			w.at(24*time.Hour + time.Minute)
			mu.Unlock()
			w.query(b, l, "after midnight")
			must(b, l.Close(context.Background()))
		})
	}
	group.Wait()
}

// wideQuery is a query with twenty masked rows, as a gateway records it.
func (w *world) wideQuery(b *testing.B, l *evidence.Log, subject string) {
	id := evidence.NewQueryID(l.Writer(), w.clock())
	actor := &evidence.Actor{Issuer: "https://idp.example", Subject: subject, ClientID: "crew", RemoteAddr: "10.0.0.7"}
	st := &evidence.Statement{SHA256: strings.Repeat("ab", 32), Kind: "select", Fingerprint: "0123456789abcdef",
		Normalized: "SELECT p.id, p.last_name, p.zip, e.started FROM patients p JOIN encounters e ON e.patient_id = p.id WHERE p.mrn = $1 ORDER BY e.started LIMIT $2"}
	base := evidence.Record{QueryID: id, SessionID: "s-" + subject, Connection: "clinic", Actor: actor, PurposeOfUse: "TREAT",
		Relations: []string{"public.patients", "public.encounters"}, Statement: st, Decision: &evidence.Decision{Effect: "allow", PolicyVersion: "v1"}}
	lease := &evidence.Lease{ID: "database/creds/clinic_ro/abcdefghijklmnop", Username: "v-approle-clinic_ro-abcdefgh", Access: "read_only",
		IssuedAt: w.clock(), ExpiresAt: w.clock().Add(time.Minute)}
	intent, outcome := base, base
	intent.Type, intent.Secret = evidence.TypeIntent, &evidence.Secret{Statement: st.Normalized + " -- 1", Rewritten: strings.Repeat("x", 600), Salt: "s"}
	outcome.Type, outcome.Lease = evidence.TypeOutcome, lease
	outcome.Result = &evidence.Result{Status: "succeeded", RowCount: 20, Command: "SELECT",
		Rows: []byte("[" + strings.TrimSuffix(strings.Repeat(`[4711,"[redacted]","021","2026-11-24"],`, 20), ",") + "]")}
	add(b, l, &intent)
	must(b, l.AppendAsync(&evidence.Record{Type: evidence.TypeLeaseIssued, QueryID: id, Connection: "clinic", Lease: lease}))
	add(b, l, &outcome)
	must(b, l.AppendAsync(&evidence.Record{Type: evidence.TypeLeaseRevoked, Connection: "clinic", Lease: lease}))
}
