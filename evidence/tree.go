package evidence

import (
	"encoding/base64"
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
)

// tree is the right edge of a Merkle tree (RFC 6962): enough to add leaves and
// to know the root.
type tree struct{ edge *compact.Range }

// hashSize is that of SHA-256, in bytes.
const hashSize = 32

func treeFactory() *compact.RangeFactory {
	return &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
}

func newTree() *tree { return &tree{edge: treeFactory().NewEmptyRange(0)} }

// resumeTree continues a tree of size leaves from the roots of its perfect
// subtrees, largest first.
func resumeTree(size uint64, edge [][]byte) (*tree, error) {
	r, err := treeFactory().NewRange(0, size, edge)
	if err != nil {
		return nil, fmt.Errorf("%w: the tree's edge does not fit its size", ErrInvalid)
	}
	return &tree{edge: r}, nil
}

func (t *tree) size() uint64 { return t.edge.End() }

// add appends a record. The library fails only on a range that does not start
// at leaf 0, which this type never makes.
func (t *tree) add(record []byte) error {
	return t.edge.Append(rfc6962.DefaultHasher.HashLeaf(record), nil)
}

// addLeaf appends a leaf's hash and calls visit with each node that it completes.
func (t *tree) addLeaf(leaf []byte, visit func(id compact.NodeID, hash []byte)) error {
	visit(compact.NewNodeID(0, t.size()), leaf)
	return t.edge.Append(leaf, visit)
}

func (t *tree) root() ([]byte, error) {
	if t.size() == 0 {
		return rfc6962.DefaultHasher.EmptyRoot(), nil
	}
	return t.edge.GetRootHash(nil)
}

// subtrees are the hashes that resumeTree takes.
func (t *tree) subtrees() []string {
	hashes := t.edge.Hashes()
	list := make([]string, len(hashes))
	for i, h := range hashes {
		list[i] = base64.StdEncoding.EncodeToString(h)
	}
	return list
}

// decodeHash reads a hash in canonical base64.
func decodeHash(s string) ([]byte, error) {
	h, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(h) != hashSize || base64.StdEncoding.EncodeToString(h) != s {
		return nil, fmt.Errorf("%w: not a hash in base64", ErrInvalid)
	}
	return h, nil
}
