package bundle

import (
	"archive/zip"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/chaperone-sql/chaperone/evidence"
)

// write makes a file of the bundle and notes it in the manifest.
func (b *builder) write(name string, fill func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(b.path(name)), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(b.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	sum, size := sha256.New(), &counter{}
	w := bufio.NewWriterSize(io.MultiWriter(f, sum, size), 1<<16)
	err = fill(w)
	if err := errors.Join(err, w.Flush(), f.Close()); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.manifest.Files[name] = evidence.File{SHA256: hex.EncodeToString(sum.Sum(nil)), Size: size.n}
	return nil
}

// counter counts bytes.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

func (b *builder) writeJSON(name string, value any) error {
	return b.write(name, func(w io.Writer) error { return json.NewEncoder(w).Encode(value) })
}

// drop removes a file again unless it is to be kept.
func (b *builder) drop(name string, keep bool) error {
	if keep {
		return nil
	}
	b.mu.Lock()
	delete(b.manifest.Files, name)
	b.mu.Unlock()
	return os.Remove(b.path(name))
}

func (b *builder) writeManifest(signer *evidence.Signer) error {
	body, err := b.manifest.Encode(signer)
	if err != nil {
		return err
	}
	return os.WriteFile(b.path(evidence.ManifestFile), body, 0o600)
}

// pack writes the zip, the manifest first.
func (b *builder) pack(out io.Writer) error {
	if err := b.writeManifest(b.cfg.Signer); err != nil {
		return err
	}
	z := zip.NewWriter(out)
	names := append([]string{evidence.ManifestFile}, slices.Sorted(maps.Keys(b.manifest.Files))...)
	for _, name := range names {
		if err := b.packFile(z, name); err != nil {
			return err
		}
	}
	return z.Close()
}

func (b *builder) packFile(z *zip.Writer, name string) error {
	f, err := os.Open(b.path(name))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: b.manifest.Created})
	if err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}
