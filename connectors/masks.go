package connectors

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/chaperone-sql/chaperone/masking"
)

// MaskNames name what masks in a database are made of. Nothing else in the
// database is touched, but for the owner's right to read.
type MaskNames struct {
	// Schema holds the masking views; for MySQL it is a database.
	Schema string
	// Reader is the role that may read the views and nothing else.
	Reader string
	// Owner is the role (for MySQL the locked account) that owns the views and
	// may read what they read.
	Owner string
}

// NewMaskNames derives the roles' names from the schema's.
func NewMaskNames(schema string) MaskNames {
	return MaskNames{Schema: schema, Reader: schema + "_ro", Owner: schema + "_owner"}
}

// MaskedView is the view that stands for one relation.
type MaskedView struct {
	// BaseSchema is where the relation is; both have the same Name.
	BaseSchema, Name string
	// Select is the view's text.
	Select string
	// Protected is true if any column is masked.
	Protected bool
	// Skipped says why there can be no view; Select is empty then.
	Skipped string
}

// Digest tells one text of a view from another.
func (v MaskedView) Digest() string {
	sum := sha256.Sum256([]byte(v.Select))
	return fmt.Sprintf("%x", sum[:16])
}

// MaskDifference is one way in which a database is not as configured.
type MaskDifference struct{ Object, Problem string }

// Masks are the masks in one database, seen by an administrator.
type Masks interface {
	// Script is the SQL that Apply runs, to be reviewed first.
	Script(ctx context.Context) ([]string, error)
	// Apply installs the views and the roles, again if they are there.
	Apply(ctx context.Context) error
	// Diff compares what is installed with what the classification and the
	// present catalog ask for.
	Diff(ctx context.Context) ([]MaskDifference, error)
	// DropScript is the SQL that Drop runs.
	DropScript(ctx context.Context) ([]string, error)
	// Drop removes what Apply made, and fails if anything else depends on it.
	Drop(ctx context.Context) error
	Close(ctx context.Context) error
}

// MaskEngine is an Engine whose masks a database can apply by itself.
type MaskEngine interface {
	// OpenMasks connects an administrator, whose DSN is a URL with user and
	// password, to the database of a target.
	OpenMasks(ctx context.Context, dsn masking.Secret, t Target, classes *masking.Classification, names MaskNames) (Masks, error)
}
