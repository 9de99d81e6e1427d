package config

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestDocumentation makes docs/configuration.md from the comments of the schema,
// and sees to it that every key has one.
func TestDocumentation(t *testing.T) {
	structs := map[string]*ast.StructType{}
	comments := map[string]string{}
	for _, name := range []string{"config.go", "values.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range group.Specs {
				if typ, ok := spec.(*ast.TypeSpec); ok {
					comments[typ.Name.Name] = plain(sentence(group.Doc), typ.Name.Name+" is ", "")
					if s, ok := typ.Type.(*ast.StructType); ok {
						structs[typ.Name.Name] = s
					}
				}
			}
		}
	}
	d := &documenter{t: t, structs: structs, comments: comments}
	d.out.WriteString(`# Configuration

<!-- Made from the comments in config/config.go by ` + "`go test ./config -update`" + `; do not edit. -->

One YAML file configures a gateway: ` + "`chaperone serve --config chaperone.yaml`" + `. It is read strictly: an unknown
key, a bad value or a missing secret stops the start, and everything that is wrong is listed at once with line, column
and the fix. Anchors, aliases and tags are not read. [deploy/chaperone.example.yaml](../deploy/chaperone.example.yaml)
is a complete example; ` + "`chaperone check --config chaperone.yaml`" + ` also tries every server it names.

- **Durations** are written ` + "`30s`, `1h30m`, `24h` or `6y`" + ` (a year is 365.25 days).
- **Times** are written ` + "`2026-11-23`, midnight in UTC, or `2026-11-23T10:00:00Z`" + `.
- **Sizes** are written ` + "`65536`, `64KiB`, `4MiB` or `1GiB`" + `.
- **Secrets** are references, never values: ` + "`{file: PATH}`" + ` or ` + "`{env: NAME}`" + `. A secret's file must not be
  readable by others nor writable by its group; white space around the secret is left out.
  One may be in Vault: ` + "`masking.token_key: {vault: PATH#FIELD}`" + `.
- **Retention** below six years is accepted only for a directory or an S3 endpoint on this machine.

`)
	d.section("", "Top level", reflect.TypeFor[Config]())
	golden(t, filepath.Join("..", "docs", "configuration.md"), strings.TrimRight(d.out.String(), "\n")+"\n")
}

type documenter struct {
	t        *testing.T
	structs  map[string]*ast.StructType
	comments map[string]string
	out      strings.Builder
}

// section writes a table of a struct's keys, and then the sections below it.
func (d *documenter) section(path, title string, typ reflect.Type) {
	fmt.Fprintf(&d.out, "## %s\n\n%s\n\n| key | type | |\n|---|---|---|\n", title, d.comments[typ.Name()])
	type below struct {
		path string
		typ  reflect.Type
	}
	var sections []below
	for i := range typ.NumField() {
		field := typ.Field(i)
		key := field.Tag.Get("yaml")
		doc := d.fieldComment(typ.Name(), field.Name, key)
		if key == "" || doc == "" {
			d.t.Errorf("%s.%s has no key or no comment", typ.Name(), field.Name)
		}
		kind, inner, suffix := describeType(field.Type)
		fmt.Fprintf(&d.out, "| `%s` | %s | %s |\n", key, kind, strings.ReplaceAll(doc, "|", "\\|"))
		if inner != nil {
			name := key + suffix
			if path != "" {
				name = path + "." + name
			}
			sections = append(sections, below{name, inner})
		}
	}
	d.out.WriteString("\n")
	for _, s := range sections {
		d.section(s.path, "`"+s.path+"`", s.typ)
	}
}

// describeType names a key's type, and the section that it opens, if any.
func describeType(typ reflect.Type) (kind string, inner reflect.Type, suffix string) {
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch typ {
	case reflect.TypeFor[Duration]():
		return "duration", nil, ""
	case reflect.TypeFor[Time]():
		return "time", nil, ""
	case reflect.TypeFor[Size]():
		return "size", nil, ""
	case reflect.TypeFor[SecretRef]():
		return "secret", nil, ""
	}
	switch typ.Kind() {
	case reflect.Struct:
		return "section", typ, ""
	case reflect.Slice:
		if typ.Elem().Kind() == reflect.Struct {
			return "list of sections", typ.Elem(), "[]"
		}
		return "list of text", nil, ""
	case reflect.Map:
		if typ.Elem().Kind() == reflect.Struct {
			return "sections by name", typ.Elem(), ".NAME"
		}
		return "text by name", nil, ""
	case reflect.Bool:
		return "true or false", nil, ""
	case reflect.Int, reflect.Int64:
		return "whole number", nil, ""
	case reflect.Float64:
		return "number", nil, ""
	default:
		return "text", nil, ""
	}
}

// fieldComment is the comment of a field, with its key for its Go name.
func (d *documenter) fieldComment(structName, field, key string) string {
	for _, f := range d.structs[structName].Fields.List {
		for _, name := range f.Names {
			if name.Name == field && f.Doc != nil {
				if len(f.Names) > 1 {
					d.t.Errorf("%s.%s shares a comment", structName, field)
				}
				return plain(sentence(f.Doc), field+" ", "`"+key+"` ")
			}
		}
	}
	return ""
}

// plain replaces a comment's Go name by the key.
func plain(comment, name, key string) string {
	rest, ok := strings.CutPrefix(comment, name)
	if !ok || rest == "" {
		return comment
	}
	if key != "" {
		return key + rest
	}
	return strings.ToUpper(rest[:1]) + rest[1:]
}

func sentence(doc *ast.CommentGroup) string {
	return strings.Join(strings.Fields(doc.Text()), " ")
}
