package evidence

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Where the files of an unpacked bundle are. docs/evidence-format.md is the
// specification.
const (
	ManifestFile  = "manifest"
	runsDir       = root + "runs/"
	proofsDir     = root + "proofs/"
	manifestMagic = "chaperone-evidence-bundle/v1\n"
	// maxManifest bounds a manifest in bytes.
	maxManifest = 64 << 20
)

// AnnouncementFile, RunFile and ProofFile are a writer's files in a bundle.
func AnnouncementFile(writer string) string { return announcementKey(writer) }

// RunFile is the file of a writer's segments.
func RunFile(writer string) string { return runsDir + writer }

// ProofFile is the file of a proof from the end of a run to a later checkpoint.
func ProofFile(writer string) string { return proofsDir + writer }

// Manifest says what a bundle holds.
type Manifest struct {
	// Since and Until are the period: records with Since <= time < Until.
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	// Created is when the store was as the bundle says.
	Created time.Time `json:"created"`
	// Maker says in words who made the bundle.
	Maker string `json:"maker"`
	// Filter says which records' bodies are there; nil for all.
	Filter *Filter `json:"filter,omitempty"`
	// Runs are by writer.
	Runs map[string]Run `json:"runs"`
	// Records and Queries count what matches.
	Records int64 `json:"records"`
	Queries int64 `json:"queries"`
	// Files are all but the manifest, by path.
	Files map[string]File `json:"files"`
}

// File is what a manifest says of a file.
type File struct {
	SHA256 string `json:"sha256"` // hex
	Size   int64  `json:"size"`   // bytes
}

// About is the manifest's filter with its period.
func (m *Manifest) About() Filter {
	f := Filter{}
	if m.Filter != nil {
		f = *m.Filter
	}
	f.Since, f.Until = m.Since, m.Until
	return f
}

// Encode writes the manifest, signed if there is a signer.
func (m *Manifest) Encode(signer *Signer) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(manifestMagic)
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return nil, err
	}
	if signer == nil {
		return b.Bytes(), nil
	}
	return note.Sign(&note.Note{Text: b.String()}, signer)
}

// ReadManifest reads the manifest of a bundle. That it is signed, and true, is
// VerifyBundle's to check.
func ReadManifest(files fs.FS) (*Manifest, error) {
	body, err := readFile(files, ManifestFile, maxManifest)
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	m, _, _, err := openManifest(body, note.VerifierList())
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	return m, nil
}

// openManifest reads a manifest. signed is true if it has signatures; wrong says
// what is wrong with them.
func openManifest(body []byte, trusted note.Verifiers) (m *Manifest, signed bool, wrong, err error) {
	text := string(body)
	if at := strings.Index(text, "\n\n"); at >= 0 {
		signed = true
		text = text[:at+1]
		if n, err := openNote(body, trusted); err != nil {
			wrong = err
		} else if n.Text != text {
			return nil, true, nil, fmt.Errorf("%w: the manifest has more than one text", ErrInvalid)
		}
	}
	line, ok := strings.CutPrefix(text, manifestMagic)
	if !ok || strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
		return nil, signed, wrong, fmt.Errorf("%w: not a manifest of version 1", ErrInvalid)
	}
	m = &Manifest{}
	if err := json.Unmarshal([]byte(line), m); err != nil {
		return nil, signed, wrong, fmt.Errorf("%w: the manifest is not JSON of the right form", ErrInvalid)
	}
	return m, signed, wrong, nil
}

// Proof is the content of a ProofFile: a consistency proof (RFC 6962 section
// 2.1.2) from the end of the run to a later checkpoint.
type Proof struct {
	Size       uint64   `json:"size"`
	Checkpoint string   `json:"checkpoint"`
	Hashes     []string `json:"proof"`
	// Witnessed is the first cosigned checkpoint that covers the run, as in a
	// record; WitnessedHashes prove that it continues the run.
	Witnessed       string   `json:"witnessed,omitempty"`
	WitnessedHashes []string `json:"witnessed_proof,omitempty"`
}
