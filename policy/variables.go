package policy

import (
	"reflect"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"
)

// What rules see. The CEL type checker knows these structs, so a misspelt field
// stops the start instead of denying at run time.
type (
	statementView struct {
		Kind       string         `cel:"kind"`
		Write      bool           `cel:"write"`
		Runnable   bool           `cel:"runnable"`
		Relations  []relationView `cel:"relations"`
		Uses       []useView      `cel:"uses"`
		Functions  []functionView `cel:"functions"`
		Outputs    int64          `cel:"outputs"`
		Lookups    int64          `cel:"lookups"`
		Protected  bool           `cel:"protected"`
		Shape      shapeView      `cel:"shape"`
		Normalized string         `cel:"normalized"`
	}
	relationView struct {
		Schema    string `cel:"schema"`
		Name      string `cel:"name"`
		Kind      string `cel:"kind"`
		Write     bool   `cel:"write"`
		Protected bool   `cel:"protected"`
		Denied    string `cel:"denied"`
	}
	useView struct {
		Column   string `cel:"column"`
		Class    string `cel:"class"`
		Kind     string `cel:"kind"`
		Seen     string `cel:"seen"`
		Openable bool   `cel:"openable"`
	}
	functionView struct {
		Name       string `cel:"name"`
		Volatility string `cel:"volatility"`
		Class      string `cel:"class"`
	}
	shapeView struct {
		Filtered  bool  `cel:"filtered"`
		Limit     int64 `cel:"limit"`
		Aggregate bool  `cel:"aggregate"`
		Grouped   bool  `cel:"grouped"`
		// Keyed is true for groups by a primary key.
		Keyed bool `cel:"groups_by_key"`
		// RowsOut is true if not all rows are grouped or aggregated on the way,
		// ProtectedRowsOut if not all of protected relations are.
		RowsOut          bool  `cel:"rows_out"`
		ProtectedRowsOut bool  `cel:"protected_rows_out"`
		Joins            int64 `cel:"joins"`
		Cartesian        bool  `cel:"cartesian"`
		Recursive        bool  `cel:"recursive"`
		Collects         bool  `cel:"collects"`
		Locking          bool  `cel:"locking"`
		Where            bool  `cel:"where"`
		Depth            int64 `cel:"depth"`
	}
	principalView struct {
		Subject    string   `cel:"subject"`
		ClientID   string   `cel:"client_id"`
		OnBehalfOf string   `cel:"on_behalf_of"`
		Groups     []string `cel:"groups"`
		Roles      []string `cel:"roles"`
	}
	connectionView struct {
		Name   string `cel:"name"`
		Engine string `cel:"engine"`
	}
	requestView struct {
		RowLimit     int64  `cel:"row_limit"`
		ByteLimit    int64  `cel:"byte_limit"`
		TimeoutMS    int64  `cel:"timeout_ms"`
		MaxAffected  int64  `cel:"max_affected"`
		PurposeOfUse string `cel:"purpose_of_use"`
		HasReason    bool   `cel:"has_reason"`
		SessionID    string `cel:"session_id"`
		DryRun       bool   `cel:"dry_run"`
		Parameters   int64  `cel:"parameters"`
	}
	estimateView struct {
		Known   bool    `cel:"known"`
		Rows    float64 `cel:"rows"`
		Cost    float64 `cel:"cost"`
		Scanned float64 `cel:"scanned"`
		Grouped float64 `cel:"grouped"`
		Guess   bool    `cel:"guess"`
	}
)

func environment() (*cel.Env, error) {
	return cel.NewEnv(
		ext.NativeTypes(ext.ParseStructTags(true),
			reflect.TypeFor[statementView](), reflect.TypeFor[principalView](), reflect.TypeFor[connectionView](),
			reflect.TypeFor[requestView](), reflect.TypeFor[estimateView]()),
		cel.Variable("statement", cel.ObjectType("policy.statementView")),
		cel.Variable("principal", cel.ObjectType("policy.principalView")),
		cel.Variable("connection", cel.ObjectType("policy.connectionView")),
		cel.Variable("request", cel.ObjectType("policy.requestView")),
		cel.Variable("estimate", cel.ObjectType("policy.estimateView")),
		cel.Variable("now", cel.TimestampType),
	)
}

func variables(in Input) map[string]any {
	st := in.Statement
	view := statementView{
		Kind: string(st.Kind), Write: st.Write, Runnable: st.Runnable, Outputs: int64(len(st.Outputs)),
		Lookups: int64(len(st.Lookups)), Normalized: st.Normalized,
		Shape: shapeView{
			Filtered: st.Shape.Filtered, Limit: st.Shape.Limit, Aggregate: st.Shape.Aggregate, Grouped: st.Shape.Grouped, Keyed: st.GroupsByKey, RowsOut: st.RowsOut, ProtectedRowsOut: st.ProtectedRowsOut,
			Joins: int64(st.Shape.Joins), Cartesian: st.Shape.Cartesian, Recursive: st.Shape.Recursive, Collects: st.Shape.Collects,
			Locking: st.Shape.Locking, Where: st.Shape.Where, Depth: int64(st.Shape.Depth),
		},
	}
	for _, out := range st.Outputs {
		if out.Hidden {
			view.Outputs-- // the gateway's own
		}
	}
	for _, r := range st.Relations {
		view.Relations = append(view.Relations, relationView(r))
		view.Protected = view.Protected || r.Protected
	}
	for _, u := range st.Uses {
		view.Uses = append(view.Uses, useView{Column: u.Column.String(), Class: u.Class, Kind: string(u.Kind),
			Seen: string(u.Seen), Openable: u.Openable})
	}
	for _, f := range st.Functions {
		view.Functions = append(view.Functions, functionView{f.Name, string(f.Volatility), string(f.Class)})
	}
	var estimate estimateView
	if in.Estimate != nil {
		estimate = estimateView(*in.Estimate)
	}
	return map[string]any{
		"statement":  view,
		"principal":  principalView(in.Principal),
		"connection": connectionView{in.Connection, in.Engine},
		"request":    requestView(in.Request),
		"estimate":   estimate,
		"now":        in.Now.UTC().Truncate(time.Microsecond),
	}
}
