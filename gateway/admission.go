package gateway

import (
	"sync"
	"time"
)

// admission bounds the requests in work, in all and for each principal. It
// never queues: a full gateway says so at once and the client retries.
type admission struct {
	total, each int

	mu    sync.Mutex
	now   int
	inUse map[string]int
}

func newAdmission(total, each int) *admission {
	return &admission{total: total, each: each, inUse: make(map[string]int)}
}

// enter takes a place and returns the function that gives it back.
func (a *admission) enter(principal string) (leave func(), ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.now >= a.total || a.inUse[principal] >= a.each {
		return nil, false
	}
	a.now++
	a.inUse[principal]++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.now--
		if a.inUse[principal]--; a.inUse[principal] == 0 {
			delete(a.inUse, principal)
		}
	}, true
}

// budget counts events by key over a sliding window, in this process. A
// restart forgets: what a budget bounds is recorded anyway.
type budget struct {
	limit  int
	window time.Duration
	clock  func() time.Time

	mu    sync.Mutex
	spent map[string][]time.Time
	swept time.Time
}

func newBudget(limit int, window time.Duration, clock func() time.Time) *budget {
	return &budget{limit: limit, window: window, clock: clock, spent: make(map[string][]time.Time)}
}

// spend takes n from the key's budget, or nothing and false if less is left.
func (b *budget) spend(key string, n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock()
	b.sweep(now)
	events := recent(b.spent[key], now.Add(-b.window))
	if len(events)+n > b.limit {
		b.spent[key] = events
		return false
	}
	for range n {
		events = append(events, now)
	}
	b.spent[key] = events
	return true
}

// sweep forgets keys that spent nothing within the window, once a window, so
// that memory is bounded by the keys of two windows.
func (b *budget) sweep(now time.Time) {
	if now.Sub(b.swept) < b.window {
		return
	}
	b.swept = now
	for key, events := range b.spent {
		if len(recent(events, now.Add(-b.window))) == 0 {
			delete(b.spent, key)
		}
	}
}

// recent drops the events at or before since; events are in order.
func recent(events []time.Time, since time.Time) []time.Time {
	for i, at := range events {
		if at.After(since) {
			return events[i:]
		}
	}
	return nil
}
