// Package rehearsal tries statements against the configured masking and policy
// without running them: on a catalog that was saved, or on a live one. It is
// what `chaperone catalog`, `policy explain` and `policy test` are made of.
package rehearsal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/connectors/mysql"
	"github.com/chaperone-sql/chaperone/connectors/postgres"
)

// format marks a saved catalog; another number is another form.
const format = "chaperone-catalog/1"

// maxSaved bounds a saved catalog in bytes.
const maxSaved = 256 << 20

// saved is a catalog in a file: names, types, comments and definitions of
// views. It holds no data and no credential.
type saved struct {
	Format     string          `json:"format"`
	Connection string          `json:"connection"`
	Engine     string          `json:"engine"`
	Database   string          `json:"database"`
	SearchPath []string        `json:"search_path,omitempty"`
	Catalog    json.RawMessage `json:"catalog"`
}

// SaveCatalog writes a connection's catalog.
func SaveCatalog(out io.Writer, name string, c config.Connection, cat connectors.Catalog) error {
	text, err := json.Marshal(cat)
	if err != nil {
		return fmt.Errorf("saving the catalog: %w", err)
	}
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	return e.Encode(saved{format, name, c.Engine, c.Database, c.SearchPath, text})
}

// readCatalog reads what SaveCatalog wrote, for one of the connections of cfg.
func readCatalog(path string, cfg *config.Config) (name string, cat connectors.Catalog, err error) {
	fail := func(err error) (string, connectors.Catalog, error) { return "", nil, fmt.Errorf("%s: %w", path, err) }
	f, err := os.Open(path) //nolint:gosec // the operator's own path
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSaved+1))
	if err != nil {
		return fail(err)
	}
	var s saved
	if err := json.Unmarshal(text, &s); err != nil || s.Format != format {
		return fail(errors.New("is no catalog that this version can read; make it with `chaperone catalog save`"))
	}
	c, ok := cfg.Connections[s.Connection]
	switch {
	case !ok:
		return fail(fmt.Errorf("is of the connection %q, which is not in the configuration", s.Connection))
	case s.Engine != c.Engine, s.Database != c.Database, !slices.Equal(s.SearchPath, c.SearchPath):
		return fail(fmt.Errorf("the configuration has another engine, database or search path for %q; save the catalog again", s.Connection))
	case s.Engine == "mysql":
		cat, err = mysql.ParseCatalog(s.Catalog)
	default:
		cat, err = postgres.ParseCatalog(s.Catalog)
	}
	if err != nil {
		return fail(err)
	}
	return s.Connection, cat, nil
}
