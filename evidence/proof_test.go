package evidence

import (
	"fmt"
	"testing"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// TestConsistency proves every pair of sizes up to 40.
func TestConsistency(t *testing.T) {
	leaf := func(i int) []byte { return []byte(fmt.Sprint("leaf ", i)) }
	for from := 1; from < 40; from++ {
		start := newTree()
		for i := range from {
			must(t, start.add(leaf(i)))
		}
		before, err := start.root()
		must(t, err)
		whole := newTree()
		for i := range from {
			must(t, whole.add(leaf(i)))
		}
		var leaves [][]byte
		for to := from + 1; to <= 40; to++ {
			leaves = append(leaves, rfc6962.DefaultHasher.HashLeaf(leaf(to-1)))
			must(t, whole.add(leaf(to-1)))
			after, err := whole.root()
			must(t, err)
			hashes, err := start.consistency(leaves)
			must(t, err)
			if err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(from), uint64(to), hashes, before, after); err != nil {
				t.Fatalf("%d to %d: %v", from, to, err)
			}
		}
	}
}
