package mysql

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"unsafe"

	"github.com/goccy/go-yaml"
)

// derivedFields of catalog are made again from the others.
var derivedFields = []string{"version", "masked", "derived"}

// TestSavedCatalogIsComplete fills every field that there is, also one that was
// added yesterday: what saved.go does not keep, this misses.
func TestSavedCatalogIsComplete(t *testing.T) {
	c := &catalog{}
	fill(reflect.ValueOf(c).Elem())
	c.seal()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseCatalog(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range derivedFields {
		for _, v := range []any{c, back} {
			reach(reflect.ValueOf(v).Elem().FieldByName(name)).SetZero()
		}
	}
	if !reflect.DeepEqual(c, back) {
		t.Errorf("a saved catalog is not what it was: add new fields to saved.go, or to derivedFields\nwas  %s\nis   %+v", text, back)
	}
}

// TestSavedCatalogAnalysesAlike saves a live catalog, and has every statement
// of the golden file analysed with both.
func TestSavedCatalogAnalysesAlike(t *testing.T) {
	c := openClinic(t, 0)
	text, err := json.Marshal(c.cat)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseCatalog(text)
	if err != nil {
		t.Fatal(err)
	}
	if back.Version() != c.cat.Version() || !reflect.DeepEqual(back.Tables(), c.cat.Tables()) {
		t.Error("the saved catalog is another")
	}
	golden, err := os.ReadFile(filepath.Join("testdata", "analysis", "statements.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var list []entry
	if err := yaml.Unmarshal(golden, &list); err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		want, wantErr := New().Analyze(c.cat, c.input(e.Statement, e.Params))
		got, gotErr := New().Analyze(back, c.input(e.Statement, e.Params))
		if !reflect.DeepEqual(got, want) || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
			t.Errorf("%s\nlive  %+v %v\nsaved %+v %v", e.Statement, want, wantErr, got, gotErr)
		}
	}
	if _, err := ParseCatalog([]byte(`{"search_path": ["x"], "relations": []}`)); err == nil {
		t.Error("a catalog of PostgreSQL was taken")
	}
}

// reach makes an unexported field settable.
func reach(v reflect.Value) reflect.Value {
	return reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
}

// fill puts something into every field, unexported ones too.
func fill(v reflect.Value) {
	v = reach(v)
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		v.SetUint(7)
	case reflect.Float64:
		v.SetFloat(7)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if !slices.Contains(derivedFields, v.Type().Field(i).Name) {
				fill(v.Field(i))
			}
		}
	}
}
