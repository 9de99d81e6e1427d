package server

import (
	"github.com/chaperone-sql/chaperone/evidence/bundle"
	"github.com/chaperone-sql/chaperone/evidence/report"
)

// BundleParts are what every bundle holds for people and for other programs to
// read.
func BundleParts() []bundle.Part {
	return []bundle.Part{report.Part()}
}
