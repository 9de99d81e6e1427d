package report

import "time"

// kind is a colour of the chart.
type kind int

const (
	answered kind = iota
	said
	undecided
	broken
	tried
	kinds
)

var kindWords = [kinds]string{
	answered:  "succeeded",
	said:      "denied or refused",
	undecided: "waiting, withdrawn, expired, or approved and not run",
	broken:    "failed, withheld, interrupted or without an end",
	tried:     "dry runs",
}

// kindOf puts ends together for the chart and the tiles.
func kindOf(e end) kind {
	switch e {
	case succeeded:
		return answered
	case deniedByPolicy, deniedByApprover, refused:
		return said
	case waiting, approvedOnly, expired, withdrawn:
		return undecided
	case dryRun:
		return tried
	}
	return broken
}

// bins are queries by hour since 1970 and kind. Six years are 53,000 of them.
type bins map[int64]*[kinds]int64

func (b *bins) add(hour int64, e end) {
	if *b == nil {
		*b = make(bins)
	}
	at := (*b)[hour]
	if at == nil {
		at = &[kinds]int64{}
		(*b)[hour] = at
	}
	at[kindOf(e)]++
}

// bin is one bar of the chart.
type bin struct {
	from   time.Time
	counts [kinds]int64
}

func (b *bin) total() (n int64) {
	for _, count := range b.counts {
		n += count
	}
	return n
}

// maxBars is how many bars the chart may have.
const maxBars = 120

// bars are the bins of a period, hour by hour up to two days, else by one or more
// days, so that there are few enough.
func (b bins) bars(since, until time.Time) (bars []bin, width time.Duration) {
	since, until = since.UTC().Truncate(time.Hour), until.UTC()
	if !until.After(since) {
		return nil, 0
	}
	width = time.Hour
	if until.Sub(since) > 48*time.Hour {
		since, width = since.Truncate(24*time.Hour), 24*time.Hour
		for until.Sub(since) > maxBars*width {
			width += 24 * time.Hour
		}
	}
	for at := since; at.Before(until); at = at.Add(width) {
		bars = append(bars, bin{from: at})
	}
	for hour, counts := range b {
		at := int(time.Unix(hour*3600, 0).Sub(since) / width)
		at = min(max(at, 0), len(bars)-1)
		for k, n := range counts {
			bars[at].counts[k] += n
		}
	}
	return bars, width
}
