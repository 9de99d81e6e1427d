package evidence_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/worm"
	"github.com/chaperone-sql/chaperone/worm/s3"
)

// faultWorld is a gateway's log on a real S3 server behind a network, or on a
// disk, that goes bad.
type faultWorld struct {
	direct, store worm.Store
	signer        *evidence.Signer
	trusted       note.Verifiers
	auditors      []age.Recipient
}

func openS3(t testing.TB, server *testenv.ObjectStore, endpoint string, timeout time.Duration) worm.Store {
	t.Helper()
	store, err := s3.New(t.Context(), s3.Config{Endpoint: endpoint, Region: server.Region, Bucket: server.Bucket, PathStyle: true,
		Retention: time.Hour, AccessKey: server.AccessKey, SecretKey: masking.Secret(server.SecretKey), Timeout: timeout})
	check(t, err)
	return store
}

func newFaultWorld(t testing.TB, server *testenv.ObjectStore, endpoint string) *faultWorld {
	t.Helper()
	w := &faultWorld{direct: openS3(t, server, server.Endpoint, 0), store: openS3(t, server, endpoint, time.Second)}
	var public string
	w.signer, public = newSigner(t, "gw-1")
	var err error
	w.trusted, err = evidence.ParseVerifiers([]byte(public))
	check(t, err)
	w.auditors = newAuditors(t)
	return w
}

func (w *faultWorld) open(t testing.TB, clock func() time.Time) *evidence.Log {
	t.Helper()
	l, err := evidence.Open(t.Context(), evidence.Config{Store: w.store, Name: "gw-1", Signer: w.signer, Auditors: w.auditors,
		Heartbeat: time.Minute, RetryWindow: 2 * time.Second, Clock: clock, Logger: slog.New(slog.DiscardHandler)})
	check(t, err)
	return l
}

// work appends from eight clients until stop, and notes what was acknowledged.
type work struct {
	stop  atomic.Bool
	group sync.WaitGroup
	mu    sync.Mutex
	acked map[string]string // note by record id
	tried map[string]bool
	n     atomic.Int64
}

func startWork(l *evidence.Log) *work {
	w := &work{acked: map[string]string{}, tried: map[string]bool{}}
	for range 8 {
		w.group.Go(func() {
			for !w.stop.Load() {
				name := fmt.Sprint("event ", w.n.Add(1))
				r := &evidence.Record{Type: evidence.TypeRead, Note: name}
				w.mu.Lock()
				w.tried[name] = true
				w.mu.Unlock()
				ctx, stop := context.WithTimeout(context.Background(), 4*time.Second)
				_, err := l.Append(ctx, r)
				stop()
				if err == nil {
					w.mu.Lock()
					w.acked[r.ID] = name
					w.mu.Unlock()
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	return w
}

func (w *work) acknowledged() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acked)
}

// judge verifies what is in the store: clean, every acknowledged record there,
// none twice, and none that nobody made.
func (w *faultWorld) judge(t *testing.T, done *work) {
	t.Helper()
	report, err := evidence.Verify(t.Context(), w.direct, w.trusted, evidence.Options{Now: time.Now()})
	check(t, err)
	if len(report.Findings) > 0 {
		t.Errorf("findings: %s", listed(report))
	}
	seen := map[string]bool{}
	check(t, evidence.NewReader(w.direct, w.trusted).Records(t.Context(), evidence.Filter{}, func(r *evidence.Record) bool {
		if r.Type != evidence.TypeRead {
			return true
		}
		if seen[r.Note] || !done.tried[r.Note] {
			t.Errorf("%s is there twice, or nobody made it", r.Note)
		}
		seen[r.Note] = true
		if name, ok := done.acked[r.ID]; ok && name != r.Note {
			t.Errorf("record %s is another one than was acknowledged", r.ID)
		}
		return true
	}))
	for id, name := range done.acked {
		if !seen[name] {
			t.Errorf("%s (%s) was acknowledged and is not there", name, id)
		}
	}
	t.Logf("%d tried, %d acknowledged, %d stored", len(done.tried), len(done.acked), len(seen))
}

// TestFaultsOfTheNetwork: whatever happens between the gateway and the store,
// nothing is acknowledged that is not durable, nothing is there twice, and all
// goes on when it is over.
func TestFaultsOfTheNetwork(t *testing.T) {
	for name, bad := range map[string]func(n *testenv.Toxic){
		"connections refused":   func(n *testenv.Toxic) { n.Enable(false) },
		"slow":                  func(n *testenv.Toxic) { n.Add("latency", true, map[string]any{"latency": 600, "jitter": 300}) },
		"narrow":                func(n *testenv.Toxic) { n.Add("bandwidth", false, map[string]any{"rate": 20}) },
		"silent":                func(n *testenv.Toxic) { n.Add("timeout", false, map[string]any{"timeout": 0}) },
		"cut after a while":     func(n *testenv.Toxic) { n.Add("timeout", true, map[string]any{"timeout": 300}) },
		"reset":                 func(n *testenv.Toxic) { n.Add("reset_peer", false, map[string]any{"timeout": 20}) },
		"stored, answers lost":  func(n *testenv.Toxic) { n.Add("limit_data", true, map[string]any{"bytes": 0}) },
		"cut within the upload": func(n *testenv.Toxic) { n.Add("limit_data", false, map[string]any{"bytes": 700}) },
		"in small pieces and slow": func(n *testenv.Toxic) {
			n.Add("slicer", false, map[string]any{"average_size": 100, "size_variation": 50, "delay": 2000})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testenv.S3(t)
			u, err := url.Parse(server.Endpoint)
			check(t, err)
			network := testenv.Toxiproxy(t, u.Host)
			w := newFaultWorld(t, server, "http://"+network.Addr)
			l := w.open(t, nil)
			done := startWork(l)
			time.Sleep(300 * time.Millisecond)
			bad(network)
			time.Sleep(2500 * time.Millisecond)
			network.Heal()
			before := done.acknowledged()
			for deadline := time.Now().Add(30 * time.Second); done.acknowledged() < before+20; time.Sleep(20 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Error("nothing is acknowledged after the fault is over")
					break
				}
			}
			done.stop.Store(true)
			done.group.Wait()
			check(t, l.Close(context.Background()))
			w.judge(t, done)
		})
	}
}

// TestFaultDiskFull: a store whose disk is full acknowledges nothing, and loses
// nothing when there is room again.
func TestFaultDiskFull(t *testing.T) {
	server, grow := testenv.SmallS3(t, 3<<20)
	w := newFaultWorld(t, server, server.Endpoint)
	l := w.open(t, nil)
	done := startWork(l)
	ballast := make([]byte, 64<<10)
	full := func() bool { return errors.Is(l.Ready(), evidence.ErrUnavailable) }
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	for n := 0; !full() && ctx.Err() == nil; n++ {
		put, end := context.WithTimeout(ctx, time.Second)
		_ = w.direct.Create(put, fmt.Sprint("ballast/", n), ballast) // fails once it is full
		end()
	}
	if !full() {
		t.Fatal("the disk did not fill")
	}
	at := done.acknowledged()
	time.Sleep(time.Second)
	if now := done.acknowledged(); now > at+8 { // those that were on their way
		t.Errorf("%d were acknowledged while the disk was full", now-at)
	}
	grow(64 << 20)
	for deadline := time.Now().Add(30 * time.Second); done.acknowledged() < at+30; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is acknowledged after there is room again")
		}
	}
	done.stop.Store(true)
	done.group.Wait()
	check(t, l.Close(context.Background()))
	w.judge(t, done)
}

// TestFaultClock: a clock that jumps never makes a log that runs backwards; one
// that is ahead of the store's is a finding.
func TestFaultClock(t *testing.T) {
	for name, c := range map[string]struct {
		jump time.Duration
		want int
	}{"an hour back": {-time.Hour, 0}, "a minute ahead": {time.Minute, 0}, "an hour ahead": {time.Hour, 1}} {
		t.Run(name, func(t *testing.T) {
			server := testenv.S3(t)
			w := newFaultWorld(t, server, server.Endpoint)
			var jump atomic.Int64
			l := w.open(t, func() time.Time { return time.Now().Add(time.Duration(jump.Load())) })
			_, err := l.Append(t.Context(), &evidence.Record{Type: evidence.TypeRead})
			check(t, err)
			jump.Store(int64(c.jump))
			_, err = l.Append(t.Context(), &evidence.Record{Type: evidence.TypeRead})
			check(t, err)
			jump.Store(0)
			check(t, l.Close(t.Context()))
			report, err := evidence.Verify(t.Context(), w.direct, w.trusted, evidence.Options{})
			check(t, err)
			for _, f := range report.Findings {
				if f.Kind != evidence.KindClock {
					t.Errorf("finding %+v", f)
				}
			}
			if (len(report.Findings) > 0) != (c.want > 0) {
				t.Errorf("findings: %s", listed(report))
			}
		})
	}
}
