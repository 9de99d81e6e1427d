package server

import (
	"github.com/chaperone-sql/chaperone/evidence/bundle"
	"github.com/chaperone-sql/chaperone/evidence/export"
	"github.com/chaperone-sql/chaperone/evidence/report"
)

// BundleParts are what every bundle holds for people and for other programs to
// read.
func BundleParts() []bundle.Part { return append([]bundle.Part{report.Part()}, export.Parts()...) }
