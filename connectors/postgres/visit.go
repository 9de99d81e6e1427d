package postgres

import (
	"reflect"
	"sync"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// visit calls f for n and every node below it until f says not to go deeper.
func visit(n *pg.Node, f func(*pg.Node) bool) {
	if n != nil && f(n) && n.Node != nil {
		visitMessage(reflect.ValueOf(n.Node).Elem().Field(0), f)
	}
}

// visitMessage goes on in what a message, which is no node itself, holds.
func visitMessage(m reflect.Value, f func(*pg.Node) bool) {
	if m.IsNil() {
		return
	}
	m = m.Elem()
	for _, i := range messagesIn(m.Type()) {
		field := m.Field(i)
		if field.Kind() != reflect.Slice {
			visitValue(field, f)
			continue
		}
		for j := range field.Len() {
			visitValue(field.Index(j), f)
		}
	}
}

func visitValue(m reflect.Value, f func(*pg.Node) bool) {
	if n, ok := m.Interface().(*pg.Node); ok {
		visit(n, f)
	} else {
		visitMessage(m, f)
	}
}

// fieldsOf keeps which fields of a type of message are messages or lists of
// them. It is protoreflect's knowledge, and four times as fast as asking that.
var fieldsOf sync.Map // of []int, by reflect.Type

func messagesIn(t reflect.Type) []int {
	if known, ok := fieldsOf.Load(t); ok {
		return known.([]int)
	}
	fields := []int{}
	for i := range t.NumField() {
		held := t.Field(i).Type
		if held.Kind() == reflect.Slice {
			held = held.Elem()
		}
		if t.Field(i).IsExported() && held.Kind() == reflect.Pointer {
			fields = append(fields, i)
		}
	}
	fieldsOf.Store(t, fields)
	return fields
}
