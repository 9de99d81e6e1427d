package connectors

import "slices"

// SeriesRounds is the largest number up to which a recursive query may count to
// be a series (Shape.Recursive).
const SeriesRounds = 10_000

// Connected reports whether links lead from the first of the nodes to all others,
// also through what is none of them. Of less than two nodes it is true.
func Connected[N comparable](nodes []N, links [][2]N) bool {
	if len(nodes) < 2 {
		return true
	}
	reach := map[N]bool{nodes[0]: true}
	for again := true; again; {
		again = false
		for _, l := range links {
			if reach[l[0]] != reach[l[1]] {
				reach[l[0]], reach[l[1]], again = true, true, true
			}
		}
	}
	return !slices.ContainsFunc(nodes, func(n N) bool { return !reach[n] })
}
