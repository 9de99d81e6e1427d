package policy

import "reflect"

// The native types that the CEL environment knows.
var (
	statementType  = reflect.TypeFor[statementView]()
	principalType  = reflect.TypeFor[principalView]()
	connectionType = reflect.TypeFor[connectionView]()
	requestType    = reflect.TypeFor[requestView]()
	estimateType   = reflect.TypeFor[estimateView]()
)
