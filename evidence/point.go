package evidence

import (
	"errors"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// point is a place in a growing tree from which, and to which, consistency can be
// proved later, whatever the tree's size is then. It takes at most 128 hashes.
type point struct {
	size uint64
	// nodes are the tree's perfect subtrees here, and the nodes that complete
	// right of the path to the last leaf as the tree grows.
	nodes map[compact.NodeID][]byte

	// note is the signed checkpoint here, for witnesses.
	note []byte
}

// point is where the tree is now.
func (t *tree) point() *point {
	p := &point{size: t.size(), nodes: make(map[compact.NodeID][]byte)}
	hashes := t.edge.Hashes()
	for i, id := range compact.RangeNodes(0, p.size, nil) {
		p.nodes[id] = hashes[i]
	}
	return p
}

// grow takes in a node of the tree that was added after the point.
func (p *point) grow(id compact.NodeID, hash []byte) {
	if p.size == 0 {
		return // a proof from nothing is empty
	}
	if on := (p.size - 1) >> id.Level; on&1 == 0 && id.Index == on+1 {
		p.nodes[id] = hash
	}
}

// prove makes the consistency proof from one point to a later one of the same
// tree (RFC 6962 section 2.1.2).
func (p *point) prove(to *point) ([][]byte, error) {
	nodes, err := proof.Consistency(p.size, to.size)
	if err != nil {
		return nil, err
	}
	hashes := make([][]byte, len(nodes.IDs))
	for i, id := range nodes.IDs {
		if hashes[i] = p.nodes[id]; hashes[i] == nil {
			hashes[i] = to.nodes[id]
		}
		if hashes[i] == nil {
			return nil, errors.New("a hash of the proof is not known")
		}
	}
	return nodes.Rehash(hashes, rfc6962.DefaultHasher.HashChildren)
}
