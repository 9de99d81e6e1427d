// Package report writes the part of an evidence bundle that a person reads who
// knows nothing of Chaperone: one HTML file without scripts or anything from
// elsewhere, on which every line names the record it is made from. It proves
// nothing; the records beside it do, and it says how.
//
// All text of records is taken for hostile. Only clear parts are read: never rows,
// sealed parts, problem documents or notes.
package report

import (
	"bufio"
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
	"fmt"
	"html/template"
	"io"

	"github.com/chaperone-sql/chaperone/evidence/bundle"
)

// Name is the file in a bundle.
const Name = "report.html"

var (
	//go:embed report.gohtml
	pageText string
	//go:embed report.css
	styleText string
)

// Part is the report as a part of a bundle. It reads the records once, and of a
// bundle with a filter the entries once more. Memory is bounded as the lists are
// (lines.go), and by the queries without an end.
func Part() bundle.Part { return bundle.Part{Name: Name, Write: write} }

func write(w io.Writer, content *bundle.Content) error {
	regulation, err := loadControls(controlsText)
	if err != nil {
		return err
	}
	c, err := collect(content)
	if err != nil {
		return err
	}
	around, err := lookAround(content)
	if err != nil {
		return err
	}
	page, err := newPage(content, c, around, regulation)
	if err != nil {
		return err
	}
	t, err := template.New(Name).Parse(pageText)
	if err != nil {
		return fmt.Errorf("reading the template: %w", err)
	}
	out := bufio.NewWriterSize(w, 1<<16)
	if err := t.Execute(out, page); err != nil {
		return err
	}
	return out.Flush()
}

// style is the page's style sheet, and the policy that allows it and nothing else
// (Content Security Policy, level 3).
func style() (css template.CSS, policy string) {
	sum := sha256.Sum256([]byte(styleText))
	return template.CSS(styleText), // #nosec G203 -- our own file
		"default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
}
