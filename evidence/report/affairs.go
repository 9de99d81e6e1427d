package report

import (
	"slices"
	"strings"

	"github.com/chaperone-sql/chaperone/evidence"
)

// affair takes in what is no step of a query.
func (c *collector) affair(r *evidence.Record) {
	switch r.Type {
	case evidence.TypeRejected:
		c.reject(r)
	case evidence.TypeAuthFailed:
		c.signIn(r)
	case evidence.TypeAuthSucceeded:
		c.n.signedIn++
	case evidence.TypeRead, evidence.TypeExported:
		c.read(r)
	case evidence.TypeBundled:
		c.n.bundled++
	case evidence.TypeRecovered:
		c.recovered(r)
	case evidence.TypeWriterStarted:
		c.n.started++
		c.tell(r, "A gateway started, version "+either(legible(r.Data["version"]), "not recorded"))
	case evidence.TypeWriterClosed:
		c.tell(r, "A gateway ended in order")
	case evidence.TypeConfigLoaded:
		// The start is told already.
	case evidence.TypePolicyLoaded:
		if what := changes(r.Data); what != "" {
			c.n.policyChanged++
			c.tell(r, "The rules of decision changed: "+what)
		}
	case evidence.TypeConfigChanged:
		c.n.configChanged++
		c.tell(r, "The configuration changed: "+either(changes(r.Data), "what, could not be compared"))
	case evidence.TypeKeysChanged:
		c.n.keysChanged++
		c.tell(r, "Keys changed: "+either(keysOf(r.Data), "which, is not recorded"))
	case evidence.TypeHeartbeat, evidence.TypeObserved, evidence.TypeWitnessed:
		// They are counted by type.
	default:
		c.unknown.add(string(r.Type), 1)
	}
}

func (c *collector) tell(r *evidence.Record, text string) {
	c.affairs.add(event{time: r.Time, text: text, at: referTo(r)})
}

// changes says what was added, removed and changed, by name.
func changes(data map[string]string) string {
	var parts []string
	for _, word := range []string{"added", "removed", "changed"} {
		if names := data[word]; names != "" {
			parts = append(parts, word+" "+list(strings.Split(names, ","), maxSet))
		}
	}
	return strings.Join(parts, "; ")
}

// keysOf names the keys that are others now.
func keysOf(data map[string]string) string {
	var keys []string
	for field := range data {
		if name, ok := strings.CutSuffix(field, ".to"); ok {
			keys = append(keys, name)
		}
	}
	slices.Sort(keys)
	return list(keys, maxSet)
}

// reject takes in a known caller's request that was no valid query.
func (c *collector) reject(r *evidence.Record) {
	c.n.rejected++
	code := "no code recorded"
	if r.Result != nil {
		code = either(r.Result.Code, code)
	}
	c.roles.add(code, 1)
	if code == "forbidden" || code == "own_request" {
		c.n.forbidden++
		c.rejected.add(event{time: r.Time, who: whoOf(r.Actor), connection: r.Connection, text: code, at: referTo(r)})
	}
}

// signIn takes in a failed sign-in, and how many before it were not recorded.
func (c *collector) signIn(r *evidence.Record) {
	c.n.failed++
	left := numberOf(r.Data["left_out_before"])
	c.n.leftOut = sum(c.n.leftOut, left)
	from := "not recorded"
	if r.Actor != nil {
		from = either(r.Actor.RemoteAddr, from)
	}
	why := either(r.Data["why"], "not recorded")
	c.whyFailed.add(why, 1)
	c.fromFailed.add(from, 1)
	c.failedSignIns.add(event{time: r.Time, who: who{subject: from}, text: why, n: left, at: referTo(r)})
}

// read takes in an auditor's look.
func (c *collector) read(r *evidence.Record) {
	if r.Type == evidence.TypeExported {
		c.n.exported++
	} else {
		c.n.reads++
	}
	what := either(r.Data["what"], strings.TrimPrefix(string(r.Type), "evidence."))
	w := whoOf(r.Actor)
	key := readKey{w.key, what}
	one := c.reads[key]
	if one == nil {
		if len(c.reads) >= maxList {
			c.readsElsewhere++
			return
		}
		one = &read{who: w, what: what, first: r.Time}
		c.reads[key] = one
	}
	one.count++
	one.last, one.at = r.Time, referTo(r)
}

// recovered takes in what a gateway found at its start of the one before.
func (c *collector) recovered(r *evidence.Record) {
	c.n.recovered++
	if r.QueryID == "" {
		c.tell(r, "A gateway found that the one before it had stopped without ending in order, or had left work undone")
		return
	}
	if _, ran := c.ran[r.QueryID]; ran {
		return
	}
	q := c.open(r)
	q.interrupted, q.counts = true, true
	q.connection, q.session = either(q.connection, r.Connection), either(q.session, r.SessionID)
}
