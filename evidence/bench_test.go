package evidence

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/worm"
)

// away adds the latency of a store that is not on this machine.
type away struct{ worm.Store }

func (a away) Create(ctx context.Context, key string, body []byte) error {
	time.Sleep(15 * time.Millisecond)
	return a.Store.Create(ctx, key, body)
}

// BenchmarkAppend compares group commit with one object a record, on the S3
// server of this machine and with the latency of a distant one added.
func BenchmarkAppend(b *testing.B) {
	local := OpenBucket(b).Store
	for name, store := range map[string]worm.Store{"local": local, "15ms": away{local}} {
		for _, clients := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("%s/group/%d", name, clients), func(b *testing.B) {
				w := newWorld(b)
				w.store = store
				cfg := w.config("gw-1")
				cfg.RetryWindow = 10 * time.Second
				l := w.open(b, cfg)
				measure(b, clients, func() error {
					_, err := l.Append(context.Background(), outcomeRecord(l.Writer()))
					return err
				})
				b.ReportMetric(float64(b.N)/float64(l.number), "records/object")
			})
			b.Run(fmt.Sprintf("%s/single/%d", name, clients), func(b *testing.B) {
				w := newWorld(b)
				var n atomic.Int64
				prefix := fmt.Sprintf("single/%d/", time.Now().UnixNano())
				measure(b, clients, func() error {
					lines, err := marshalLines(outcomeRecord("gw-1-000000000-00000000"), w.auditors)
					if err != nil {
						return err
					}
					return store.Create(context.Background(), fmt.Sprintf("%s%d", prefix, n.Add(1)), append(lines.entry, lines.body...))
				})
			})
		}
	}
}

func outcomeRecord(writer string) *Record {
	return &Record{Type: TypeOutcome, QueryID: NewQueryID(writer, time.Now()), Connection: "clinic",
		Statement: &Statement{SHA256: "00", Normalized: "SELECT name, ssn FROM patients WHERE id = $1"},
		Result:    &Result{Status: "succeeded", RowCount: 20, Rows: []byte(`[["[redacted]"],["[redacted]"]]`)}}
}

// measure runs b.N calls by so many clients and reports percentiles.
func measure(b *testing.B, clients int, call func() error) {
	b.Helper()
	took := make([]time.Duration, b.N)
	var next atomic.Int64
	var group sync.WaitGroup
	b.ResetTimer()
	for range clients {
		group.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(b.N) {
					return
				}
				start := time.Now()
				if err := call(); err != nil {
					b.Error(err)
					return
				}
				took[i] = time.Since(start)
			}
		})
	}
	group.Wait()
	b.StopTimer()
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkVerify verifies a log of many records.
func BenchmarkVerify(b *testing.B) {
	w := newWorld(b)
	l := w.open(b, w.config("gw-1"))
	const records = 20000
	for range records {
		must(b, l.AppendAsync(outcomeRecord(l.Writer())))
	}
	closeLog(b, l)
	b.ResetTimer()
	for range b.N {
		verify(b, w, Options{})
	}
	b.ReportMetric(float64(b.N*records)/b.Elapsed().Seconds(), "records/s")
}
