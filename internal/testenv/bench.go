package testenv

import (
	"slices"
	"syscall"
	"testing"
	"time"
)

// Percentiles times each iteration of a benchmark and reports the median, the
// 99th percentile and the mean of the processor's time, collection included: on a
// busy machine, a mean of the clock tells of its neighbours.
func Percentiles(b *testing.B, once func() error) {
	b.Helper()
	b.ReportAllocs()
	var took []time.Duration
	before := cpu()
	for b.Loop() {
		start := time.Now()
		if err := once(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	used := cpu() - before
	slices.Sort(took)
	b.ReportMetric(float64(used)/float64(len(took))/float64(time.Millisecond), "cpu-ms/op")
	for name, at := range map[string]int{"p50-ms": len(took) / 2, "p99-ms": len(took) * 99 / 100} {
		b.ReportMetric(float64(took[at])/float64(time.Millisecond), name)
	}
}

// cpu is the process's time on processors so far.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail for oneself
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
