package postgres

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/chaperone-sql/chaperone/connectors"
)

// encoder turns rows in PostgreSQL's text format into cells. It reuses its
// buffers: a row's cells are valid until the next.
type encoder struct {
	cols    []described
	cells   []connectors.Cell
	scratch []byte
}

func newEncoder(cols []described) *encoder {
	return &encoder{cols: cols, cells: make([]connectors.Cell, len(cols))}
}

func (e *encoder) row(values [][]byte) []connectors.Cell {
	e.scratch = e.scratch[:0]
	for i, v := range values {
		if v == nil {
			e.cells[i] = connectors.Cell{Kind: connectors.CellNull}
			continue
		}
		if e.cols[i].element != 0 {
			e.cells[i] = e.array(v, e.cols[i].element)
			continue
		}
		e.cells[i] = e.scalar(v, e.cols[i].oid)
	}
	return e.cells
}

// scalar encodes one value by its type; one that is not known is text.
func (e *encoder) scalar(v []byte, oid uint32) connectors.Cell {
	switch oid {
	case pgtype.BoolOID:
		start := len(e.scratch)
		e.scratch = strconv.AppendBool(e.scratch, len(v) == 1 && v[0] == 't')
		return connectors.Cell{Kind: connectors.CellBool, Text: e.scratch[start:]}
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.OIDOID:
		return connectors.Cell{Kind: connectors.CellNumber, Text: v}
	case pgtype.Float4OID, pgtype.Float8OID:
		if bytes.ContainsAny(v, "NI") { // NaN, Infinity
			return connectors.Cell{Kind: connectors.CellString, Text: v}
		}
		return connectors.Cell{Kind: connectors.CellNumber, Text: v}
	case pgtype.JSONOID, pgtype.JSONBOID:
		return connectors.Cell{Kind: connectors.CellJSON, Text: v}
	case pgtype.ByteaOID:
		return connectors.Cell{Kind: connectors.CellString, Text: e.base64(v)}
	case pgtype.TimestamptzOID:
		return connectors.Cell{Kind: connectors.CellString, Text: e.timestamp(v, true)}
	case pgtype.TimestampOID:
		return connectors.Cell{Kind: connectors.CellString, Text: e.timestamp(v, false)}
	}
	return connectors.Cell{Kind: connectors.CellString, Text: v}
}

// base64 turns \x0102 into base64.
func (e *encoder) base64(v []byte) []byte {
	if !bytes.HasPrefix(v, []byte(`\x`)) {
		return v
	}
	raw := make([]byte, hex.DecodedLen(len(v)-2))
	if _, err := hex.Decode(raw, v[2:]); err != nil {
		return v
	}
	start := len(e.scratch)
	e.scratch = base64.StdEncoding.AppendEncode(e.scratch, raw)
	return e.scratch[start:]
}

// timestamp turns "2026-11-24 10:00:00.5+00" into RFC 3339, in UTC as the
// session is; infinities and years BC stay as PostgreSQL writes them.
func (e *encoder) timestamp(v []byte, zoned bool) []byte {
	space := bytes.IndexByte(v, ' ')
	if space < 0 || bytes.HasSuffix(v, []byte("BC")) || (zoned && !bytes.HasSuffix(v, []byte("+00"))) {
		return v
	}
	start := len(e.scratch)
	e.scratch = append(e.scratch, v[:space]...)
	e.scratch = append(e.scratch, 'T')
	if zoned {
		e.scratch = append(e.scratch, v[space+1:len(v)-3]...)
		e.scratch = append(e.scratch, 'Z')
	} else {
		e.scratch = append(e.scratch, v[space+1:]...)
	}
	return e.scratch[start:]
}

// array writes PostgreSQL's array text as nested JSON. Text that is no array
// literal stays text.
func (e *encoder) array(v []byte, element uint32) connectors.Cell {
	p := arrayParser{in: v, enc: &encoder{}, element: element}
	if i := bytes.IndexByte(v, '='); i > 0 && v[0] == '[' {
		p.in = v[i+1:] // explicit bounds: [0:1]={a,b}
	}
	out, ok := p.value(nil)
	if !ok || len(p.in) != 0 {
		return connectors.Cell{Kind: connectors.CellString, Text: v}
	}
	return connectors.Cell{Kind: connectors.CellJSON, Text: out}
}

type arrayParser struct {
	in      []byte
	enc     *encoder
	element uint32
	depth   int
}

// value reads an array and appends it to out.
func (p *arrayParser) value(out []byte) ([]byte, bool) {
	if len(p.in) == 0 || p.in[0] != '{' || p.depth > 6 {
		return nil, false
	}
	p.depth++
	p.in = p.in[1:]
	out = append(out, '[')
	for first := true; ; first = false {
		if len(p.in) == 0 {
			return nil, false
		}
		if p.in[0] == '}' {
			p.in = p.in[1:]
			p.depth--
			return append(out, ']'), true
		}
		if !first {
			if p.in[0] != p.delimiter() {
				return nil, false
			}
			p.in = p.in[1:]
			out = append(out, ',')
		}
		if len(p.in) > 0 && p.in[0] == '{' {
			var ok bool
			if out, ok = p.value(out); !ok {
				return nil, false
			}
			continue
		}
		text, quoted, ok := p.item()
		if !ok {
			return nil, false
		}
		if !quoted && strings.EqualFold(string(text), "NULL") {
			out = append(out, "null"...)
			continue
		}
		p.enc.scratch = p.enc.scratch[:0]
		out = connectors.AppendJSON(out, p.enc.scalar(text, p.element))
	}
}

func (p *arrayParser) delimiter() byte {
	if p.element == pgtype.BoxOID {
		return ';'
	}
	return ','
}

func (p *arrayParser) item() (text []byte, quoted, ok bool) {
	if len(p.in) > 0 && p.in[0] == '"' {
		for i := 1; i < len(p.in); i++ {
			switch p.in[i] {
			case '\\':
				i++
				if i < len(p.in) {
					text = append(text, p.in[i])
				}
			case '"':
				p.in = p.in[i+1:]
				return text, true, true
			default:
				text = append(text, p.in[i])
			}
		}
		return nil, true, false
	}
	end := bytes.IndexAny(p.in, string(p.delimiter())+"}")
	if end < 0 {
		return nil, false, false
	}
	text, p.in = p.in[:end], p.in[end:]
	return text, false, true
}

// canonical is the SQL name of a type that the driver names in its own way.
func canonical(name string) string {
	switch name {
	case "bool":
		return "boolean"
	case "int2":
		return "smallint"
	case "int4":
		return "integer"
	case "int8":
		return "bigint"
	case "float4":
		return "real"
	case "float8":
		return "double precision"
	}
	return name
}

// declared maps the types that the caller named to oids; 0 lets the server infer.
func declared(args []connectors.Param) ([]uint32, error) {
	types := pgtype.NewMap()
	oids := make([]uint32, len(args))
	for i, a := range args {
		if a.Type == "" {
			continue
		}
		name := strings.ToLower(strings.TrimSpace(a.Type))
		if alias, ok := aliases[name]; ok {
			name = alias
		}
		if base, ok := strings.CutSuffix(name, "[]"); ok {
			if alias, ok := aliases[base]; ok {
				base = alias
			}
			name = "_" + base
		}
		t, ok := types.TypeForName(name)
		if !ok {
			return nil, &connectors.Error{Kind: connectors.KindParameter, Message: "a parameter's declared type is not known",
				Hint: "Use a PostgreSQL type such as integer, numeric, text, date, timestamptz, uuid, jsonb or bytea."}
		}
		oids[i] = t.OID
	}
	return oids, nil
}

var aliases = map[string]string{
	"boolean": "bool", "smallint": "int2", "integer": "int4", "int": "int4", "bigint": "int8", "real": "float4",
	"double precision": "float8", "float": "float8", "decimal": "numeric", "string": "text", "character varying": "varchar",
	"timestamp with time zone": "timestamptz", "timestamp without time zone": "timestamp", "character": "bpchar",
}

// bind writes parameters in text format for the types the server decided on.
func bind(args []connectors.Param, oids []uint32) ([][]byte, error) {
	types := pgtype.NewMap()
	values := make([][]byte, len(args))
	for i, a := range args {
		if a.Null {
			continue
		}
		text := a.Text
		switch t, _ := types.TypeForOID(oids[i]); {
		case oids[i] == pgtype.ByteaOID:
			raw, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return nil, &connectors.Error{Kind: connectors.KindParameter, Message: "a bytea parameter is not base64"}
			}
			text = `\x` + hex.EncodeToString(raw)
		case t != nil && a.Kind == connectors.ParamJSON:
			if _, ok := t.Codec.(*pgtype.ArrayCodec); ok {
				literal, ok := arrayLiteral(text)
				if !ok {
					return nil, &connectors.Error{Kind: connectors.KindParameter, Message: "an array parameter is not a JSON array of plain values"}
				}
				text = literal
			}
		}
		values[i] = []byte(text)
	}
	return values, nil
}

// arrayLiteral writes a JSON array as PostgreSQL's array text.
func arrayLiteral(text string) (string, bool) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var list []any
	if d.Decode(&list) != nil {
		return "", false
	}
	var b strings.Builder
	ok := writeArray(&b, list, 0)
	return b.String(), ok
}

func writeArray(b *strings.Builder, list []any, depth int) bool {
	if depth > 6 {
		return false
	}
	b.WriteByte('{')
	for i, v := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		switch v := v.(type) {
		case nil:
			b.WriteString("NULL")
		case bool:
			if v {
				b.WriteString("t")
			} else {
				b.WriteString("f")
			}
		case json.Number:
			b.WriteString(v.String())
		case string:
			b.WriteByte('"')
			for _, r := range []byte(v) {
				if r == '"' || r == '\\' {
					b.WriteByte('\\')
				}
				b.WriteByte(r)
			}
			b.WriteByte('"')
		case []any:
			if !writeArray(b, v, depth+1) {
				return false
			}
		default:
			return false
		}
	}
	b.WriteByte('}')
	return true
}
