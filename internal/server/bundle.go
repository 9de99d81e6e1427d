package server

import (
	"github.com/chaperone-sql/chaperone/evidence/bundle"
	"github.com/chaperone-sql/chaperone/evidence/export"
)

// BundleParts are the files for people and other programs in every bundle.
func BundleParts() []bundle.Part { return export.Parts() }
