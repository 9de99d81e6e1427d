package mysql

import (
	"bytes"
	"database/sql"
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/chaperone-sql/chaperone/connectors"
)

// encoder turns rows into cells. It reuses its buffers: a row's cells are valid
// until the next.
type encoder struct {
	described []connectors.ResultColumn
	kinds     []kind
	raw       []sql.RawBytes
	dest      []any
	cells     []connectors.Cell
	scratch   []byte
}

// kind is how a column's text is written as JSON.
type kind uint8

const (
	asText kind = iota
	asNumber
	asJSON
	asBase64
	asDateTime
)

func newEncoder(types []*sql.ColumnType) *encoder {
	e := &encoder{raw: make([]sql.RawBytes, len(types)), cells: make([]connectors.Cell, len(types))}
	for i, t := range types {
		name := t.DatabaseTypeName()
		e.described = append(e.described, connectors.ResultColumn{Name: t.Name(), Type: typeName(name)})
		e.kinds = append(e.kinds, kindOf(name))
		e.dest = append(e.dest, &e.raw[i])
	}
	return e
}

// typeName is the SQL name of a type that the driver names.
func typeName(driver string) string {
	if rest, ok := strings.CutPrefix(driver, "UNSIGNED "); ok {
		return strings.ToLower(rest) + " unsigned"
	}
	return strings.ToLower(driver)
}

func kindOf(driver string) kind {
	switch strings.TrimPrefix(driver, "UNSIGNED ") {
	case "TINYINT", "SMALLINT", "MEDIUMINT", "INT", "YEAR", "FLOAT", "DOUBLE":
		return asNumber
	case "JSON":
		return asJSON
	case "BLOB", "TINYBLOB", "MEDIUMBLOB", "LONGBLOB", "BINARY", "VARBINARY", "BIT", "GEOMETRY":
		return asBase64
	case "DATETIME":
		return asDateTime
	case "TIMESTAMP":
		return asDateTime
	}
	return asText // BIGINT, DECIMAL, CHAR, DATE, TIME, ENUM, SET and what is new
}

func (e *encoder) scan(rows *sql.Rows) ([]connectors.Cell, error) {
	if err := rows.Scan(e.dest...); err != nil {
		return nil, err
	}
	e.scratch = e.scratch[:0]
	for i, v := range e.raw {
		e.cells[i] = e.cell(v, e.kinds[i], e.described[i].Type)
	}
	return e.cells, nil
}

func (e *encoder) cell(v []byte, k kind, typ string) connectors.Cell {
	if v == nil {
		return connectors.Cell{Kind: connectors.CellNull}
	}
	switch k {
	case asNumber:
		return connectors.Cell{Kind: connectors.CellNumber, Text: v}
	case asJSON:
		return connectors.Cell{Kind: connectors.CellJSON, Text: v}
	case asBase64:
		start := len(e.scratch)
		e.scratch = base64.StdEncoding.AppendEncode(e.scratch, v)
		return connectors.Cell{Kind: connectors.CellString, Text: e.scratch[start:]}
	case asDateTime:
		return connectors.Cell{Kind: connectors.CellString, Text: e.timestamp(v, typ == "timestamp")}
	case asText:
	}
	return connectors.Cell{Kind: connectors.CellString, Text: v}
}

// timestamp writes "2026-11-24 10:00:00.5" as RFC 3339; a TIMESTAMP is UTC, as
// the session's time zone is, a DATETIME has no zone.
func (e *encoder) timestamp(v []byte, zoned bool) []byte {
	space := bytes.IndexByte(v, ' ')
	if space < 0 {
		return v
	}
	start := len(e.scratch)
	e.scratch = append(e.scratch, v[:space]...)
	e.scratch = append(e.scratch, 'T')
	e.scratch = append(e.scratch, v[space+1:]...)
	if zoned {
		e.scratch = append(e.scratch, 'Z')
	}
	return e.scratch[start:]
}

// bind turns parameters into what the driver sends. Numbers keep their exact
// text: an integer that fits is an integer, everything else a decimal string.
func bind(args []connectors.Param) ([]any, error) {
	out := make([]any, len(args))
	for i, a := range args {
		v, err := bindOne(a)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

func bindOne(a connectors.Param) (any, error) {
	if a.Null {
		return nil, nil
	}
	wrong := func(what string) error {
		return &connectors.Error{Kind: connectors.KindParameter, Message: "a parameter is no valid " + what}
	}
	switch base, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(a.Type)), "("); base {
	case "":
	case "tinyint", "smallint", "mediumint", "int", "integer", "bigint":
		n, err := strconv.ParseInt(a.Text, 10, 64)
		if err != nil {
			return nil, wrong("integer")
		}
		return n, nil
	case "bigint unsigned", "unsigned":
		n, err := strconv.ParseUint(a.Text, 10, 64)
		if err != nil {
			return nil, wrong("unsigned integer")
		}
		return n, nil
	case "double", "float", "real":
		f, err := strconv.ParseFloat(a.Text, 64)
		if err != nil {
			return nil, wrong("number")
		}
		return f, nil
	case "blob", "binary", "varbinary", "longblob", "bytea":
		raw, err := base64.StdEncoding.DecodeString(a.Text)
		if err != nil {
			return nil, wrong("base64")
		}
		return raw, nil
	case "char", "varchar", "text", "date", "datetime", "timestamp", "time", "decimal", "numeric", "json", "year", "enum", "string":
		return a.Text, nil
	default:
		return nil, &connectors.Error{Kind: connectors.KindParameter, Message: "a parameter's declared type is not known",
			Hint: "Use a MySQL type such as int, bigint, decimal, varchar, date, datetime, json or blob."}
	}
	switch a.Kind {
	case connectors.ParamBool:
		return a.Text == "true", nil
	case connectors.ParamNumber:
		if n, err := strconv.ParseInt(a.Text, 10, 64); err == nil {
			return n, nil
		}
		if n, err := strconv.ParseUint(a.Text, 10, 64); err == nil {
			return n, nil
		}
		if strings.ContainsAny(a.Text, "eE") {
			f, err := strconv.ParseFloat(a.Text, 64)
			if err != nil {
				return nil, wrong("number")
			}
			return f, nil
		}
	case connectors.ParamString, connectors.ParamJSON:
	}
	return a.Text, nil
}
