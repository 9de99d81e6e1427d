package evidence

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/transparency-dev/merkle/rfc6962"
)

// maxProven is how many records beyond a run are read for a proof.
const maxProven = 1 << 17

// ProveRun makes the proof from the end of a writer's run to the newest
// checkpoint of its log (RFC 6962 section 2.1.2). ok is false if the log ends
// with the run, or goes on for so long that a proof costs too much.
func (r *Reader) ProveRun(ctx context.Context, writer string, run Run) (p Proof, ok bool, err error) {
	last, err := r.segment(ctx, writer, run.To-1)
	if err != nil {
		return p, false, fmt.Errorf("proving the log of %s: %w", writer, err)
	}
	edge, _, err := last.verify(r.trusted)
	if err != nil {
		return p, false, fmt.Errorf("proving the log of %s: %w", writer, err)
	}
	// First how far the log goes, then the hashes that a proof to there needs.
	var leaves [][]byte
	var newest *segment
	var witnessed uint64
	err = r.scan(ctx, writer, run.To, func(s *segment) (bool, error) {
		for _, record := range s.records {
			leaves = append(leaves, rfc6962.DefaultHasher.HashLeaf(record.entry))
		}
		newest = s
		if witnessed == 0 {
			p.Witnessed, witnessed = witnessedIn(s, run.Size)
		}
		return len(leaves) <= maxProven, nil
	})
	if err != nil || newest == nil || len(leaves) > maxProven {
		return p, false, err
	}
	hashes, err := edge.consistency(leaves)
	if err != nil {
		return p, false, fmt.Errorf("proving the log of %s: %w", writer, err)
	}
	p.Size, p.Checkpoint, p.Hashes = run.Size, string(newest.note), encodeHashes(hashes)
	if witnessed > 0 {
		if hashes, err = edge.consistency(leaves[:witnessed-run.Size]); err != nil {
			return p, false, fmt.Errorf("proving the log of %s: %w", writer, err)
		}
		p.WitnessedHashes = encodeHashes(hashes)
	}
	return p, true, nil
}

func encodeHashes(hashes [][]byte) []string {
	list := make([]string, len(hashes))
	for i, h := range hashes {
		list[i] = base64.StdEncoding.EncodeToString(h)
	}
	return list
}

// consistency proves that the tree with leaves added continues this one.
func (t *tree) consistency(leaves [][]byte) ([][]byte, error) {
	from := t.point()
	grown, err := resumeTree(t.size(), slices.Clone(t.edge.Hashes())) // it is changed
	if err != nil {
		return nil, err
	}
	for _, leaf := range leaves {
		if err := grown.addLeaf(leaf, from.grow); err != nil {
			return nil, err
		}
	}
	return from.prove(grown.point())
}
