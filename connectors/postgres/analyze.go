package postgres

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// analysis is the understanding of one statement.
type analysis struct {
	cat     *catalog
	in      connectors.Input
	st      *connectors.Statement
	depth   int // of queries
	nesting int // of expressions
	uses    int
	hidden  int  // hidden raw columns so far
	pointed bool // a raw column is asked for
	// collapsed is true if the result's rows are told apart by its columns: then
	// none of those may be raw until the gateway masks it.
	collapsed bool
	views     int  // how deep in views the analysis is
	strict    bool // of a definition: whatever a protected column is part of is protected
	// decides are, of a definition, the uses by which there are rows or none: of
	// conditions, groups and orders, also of those beneath views and WITH.
	decides []connectors.Use
	stamped map[string]string // relations relied on, by schema NUL name
	// rewrites are the references that become derived tables once everything
	// is known about their use.
	rewrites []*source
	// reads are the references to common table expressions and derived tables.
	reads  []*source
	pieces []string      // their texts
	beside chan struct{} // see Engine
	// keyed are the rows whose key is grouped by; harmless is true in an ORDER BY
	// that chooses no rows.
	keyed    map[rowOf]bool
	harmless bool
	// operated are the operators that are named without their schema.
	operated map[string]bool
	// suffixed are the names of (value).name.
	suffixed map[string]bool
	// defined are the functions of users that the statement calls, by schema NUL
	// name, with the digest of their definitions.
	defined map[string]string
	notes   map[string]bool
	levels  []*scope // of the columns that were named, in that order
	params  map[int32]bool
	counted map[*pg.ColumnRef]bool // references to counts of a query below
	placed  map[*pg.RangeVar]bool  // names of relations, where they were resolved
	// summed is true if the query that was analysed last gives no protected rows,
	// only summaries.
	summed bool
	// unbounded is true if a change of data does not say which rows.
	unbounded bool
}

// run parses, resolves, rewrites and writes back.
func (a *analysis) run() error {
	a.stamped, a.notes, a.params, a.operated = map[string]string{}, map[string]bool{}, map[int32]bool{}, map[string]bool{}
	a.suffixed = map[string]bool{}
	a.defined = map[string]string{}
	a.counted, a.placed = map[*pg.ColumnRef]bool{}, map[*pg.RangeVar]bool{}
	text := a.in.Text
	a.st.Source = text
	if a.in.Names != nil {
		var err error
		if text, err = positional(text, a.in.Names); err != nil {
			return err
		}
	}
	tree, said, err := a.parse(text)
	if err != nil {
		return err
	}
	node := tree.Stmts[0].Stmt
	if done, err := a.other(node); done || err != nil {
		a.normalised(constantFree(text))
		return err
	}
	normalised := a.normalise(said)
	if err := a.statement(node); err != nil {
		return err
	}
	if a.st.Write {
		a.st.Shape.Where = a.st.Kind != connectors.KindInsert && !a.unbounded
	}
	if err := a.parameters(); err != nil {
		return err
	}
	if err := a.rewrite(); err != nil {
		return err
	}
	if a.st.Text, err = verified(tree, a.pieces, a.understood); err != nil {
		return err
	}
	normalised()
	a.finish()
	a.st.Runnable = true
	return nil
}

// understood reports whether a message that names a relation, or calls something,
// is one that the analysis went through.
func (a *analysis) understood(m protoreflect.ProtoMessage) bool {
	switch e := m.(type) {
	case *pg.RangeVar:
		return a.placed[e]
	case *pg.FuncCall:
		return len(e.Funcname) > 1 // which names the schema that it was found in
	case *pg.A_Indirection:
		return !slices.ContainsFunc(e.Indirection, func(part *pg.Node) bool {
			return part.GetString_() != nil && !a.suffixed[part.GetString_().Sval]
		})
	}
	return true
}

// parameters checks the markers against what was given.
func (a *analysis) parameters() error {
	want := a.in.Count
	if a.in.Names != nil {
		want = len(a.in.Names)
	}
	for n := range a.params {
		if n < 1 || int(n) > want {
			return &connectors.Error{Kind: connectors.KindParameter,
				Message: fmt.Sprintf("the statement has a marker beyond the %d parameters that were given", want)}
		}
	}
	if len(a.params) != want {
		return &connectors.Error{Kind: connectors.KindParameter,
			Message: fmt.Sprintf("the statement uses %d parameters, %d were given", len(a.params), want)}
	}
	for i := range want {
		a.st.Order = append(a.st.Order, i)
	}
	return nil
}

// statement analyses the kinds that can run.
func (a *analysis) statement(node *pg.Node) error {
	if sel := node.GetSelectStmt(); sel != nil {
		a.st.Kind = connectors.KindSelect
		a.st.Shape.Limit = -1
		out, err := a.query(sel, nil, true)
		if err != nil {
			return err
		}
		a.outputs(out)
		return nil
	}
	out, err := a.change(node, nil)
	if err != nil {
		return err
	}
	a.outputs(out)
	return nil
}

// other recognises what is understood only well enough to be denied.
func (a *analysis) other(node *pg.Node) (bool, error) {
	switch node.Node.(type) {
	case *pg.Node_SelectStmt, *pg.Node_InsertStmt, *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_MergeStmt:
		return false, nil
	case *pg.Node_ExplainStmt:
		a.st.Kind = connectors.KindExplain
	case *pg.Node_VariableShowStmt:
		a.st.Kind = connectors.KindShow
	case *pg.Node_CopyStmt:
		a.st.Kind = connectors.KindCopy
	case *pg.Node_CallStmt, *pg.Node_DoStmt, *pg.Node_PrepareStmt, *pg.Node_ExecuteStmt, *pg.Node_DeallocateStmt:
		a.st.Kind = connectors.KindCall
	case *pg.Node_VariableSetStmt, *pg.Node_TransactionStmt, *pg.Node_LockStmt, *pg.Node_ListenStmt, *pg.Node_NotifyStmt,
		*pg.Node_UnlistenStmt, *pg.Node_DiscardStmt, *pg.Node_DeclareCursorStmt, *pg.Node_FetchStmt, *pg.Node_ClosePortalStmt,
		*pg.Node_ConstraintsSetStmt:
		a.st.Kind = connectors.KindSession
	case *pg.Node_GrantStmt, *pg.Node_GrantRoleStmt, *pg.Node_CreateRoleStmt, *pg.Node_AlterRoleStmt, *pg.Node_AlterRoleSetStmt,
		*pg.Node_DropRoleStmt, *pg.Node_AlterDefaultPrivilegesStmt, *pg.Node_AlterOwnerStmt, *pg.Node_ReassignOwnedStmt,
		*pg.Node_DropOwnedStmt:
		a.st.Kind = connectors.KindGrant
	case *pg.Node_VacuumStmt, *pg.Node_CheckPointStmt, *pg.Node_LoadStmt, *pg.Node_ReindexStmt, *pg.Node_ClusterStmt,
		*pg.Node_RefreshMatViewStmt, *pg.Node_AlterSystemStmt:
		a.st.Kind = connectors.KindUtility
	default:
		name := fmt.Sprintf("%T", node.Node)
		name = strings.TrimPrefix(name[strings.LastIndex(name, ".")+1:], "Node_")
		ddl := slices.ContainsFunc([]string{"Create", "Alter", "Drop", "Rename", "Define", "Index", "View", "Truncate", "Comment",
			"Rule", "SecLabel", "Composite", "ImportForeign"}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		if !ddl {
			return false, unsupported("this kind of statement is not understood", "")
		}
		a.st.Kind = connectors.KindDDL
	}
	return true, nil
}

// use notes a use of a protected column.
func (a *analysis) use(ref masking.ColumnRef, class masking.Class, kind connectors.UseKind, seen connectors.Seen, openable bool) {
	a.uses++
	u := connectors.Use{ID: fmt.Sprintf("u%d", a.uses), Column: ref, Class: class.Name, Kind: kind, Seen: seen, Openable: openable && a.cat.masked == ""}
	switch seen {
	case connectors.SeenDestroyed:
		u.Hint = connectors.DestroyedHint(ref.Column, class, kind)
		if class.Lookup && a.cat.masked == "" {
			u.Hint += fmt.Sprintf(" It can be looked up: %s = <value>, joined by AND.", ref.Column)
		}
	case connectors.SeenGeneralised:
		a.note(fmt.Sprintf("%s is generalised (%s); it was compared, grouped or ordered by that value.", ref, class.Mask.Kind))
	case connectors.SeenMasked, connectors.SeenLookup, connectors.SeenOpened, connectors.SeenGateway:
	}
	a.st.Uses = append(a.st.Uses, u)
	if a.strict && kind != connectors.UseOutput && kind != connectors.UseExpression {
		a.decides = append(a.decides, u)
	}
}

func (a *analysis) note(text string) {
	if !a.notes[text] {
		a.notes[text] = true
		a.st.Notes = append(a.st.Notes, text)
	}
}

// opened reports whether an approval opened the use that comes next.
func (a *analysis) opened() bool { return slices.Contains(a.in.Open, fmt.Sprintf("u%d", a.uses+1)) }

// compared notes that a column's values decide about rows.
func (a *analysis) compared(c *column, kind connectors.UseKind) {
	if c.class == nil {
		return
	}
	seen := connectors.SeenGeneralised
	switch {
	case !c.hides():
	case kind == connectors.UseGroup && c.plainOf() && a.keyed[rowOf{c.base, c.via}]:
		seen = connectors.SeenMasked
	case kind == connectors.UseOrder && a.harmless:
		seen = connectors.SeenMasked
		a.note(c.origin.String() + " is masked; ordering by it means nothing.")
	default:
		seen = connectors.SeenDestroyed
	}
	a.use(c.origin, *c.class, kind, seen, false)
}

// outputs describes the result's columns.
func (a *analysis) outputs(cols []column) {
	for _, c := range cols {
		out := connectors.Output{Name: c.name, Source: c.ref, Detect: true, Count: c.count, Counts: c.counts, Hidden: c.cell}
		if a.in.Cells && c.count && len(out.Counts) == 0 { // of a set operation
			out.Counts = []int{len(a.st.Outputs)}
		}
		if c.plain && c.class != nil {
			out.Class, out.Mask, out.Gateway, out.Type, out.Detect = c.class.Name, c.class.Mask.Kind, c.gateway, c.typ, false
		}
		a.st.Outputs = append(a.st.Outputs, out)
	}
}

// finish stamps the relations, sorted.
func (a *analysis) finish() {
	for _, r := range a.st.Relations {
		if known := a.cat.relations[r.Schema+"."+r.Name]; known != nil {
			for _, c := range known.columns {
				a.st.Columns = append(a.st.Columns, c.name)
			}
		}
	}
	for name, value := range a.stamped {
		a.st.Stamps = append(a.st.Stamps, connectors.Stamp{Kind: stampRelation, Name: name, Value: value})
	}
	for name := range a.operated {
		a.st.Stamps = append(a.st.Stamps, connectors.Stamp{Kind: stampOperator, Name: name, Value: builtIn})
	}
	for name := range a.suffixed {
		a.st.Stamps = append(a.st.Stamps, connectors.Stamp{Kind: stampSuffix, Name: name, Value: builtIn})
	}
	for name, digest := range a.defined {
		a.st.Stamps = append(a.st.Stamps, connectors.Stamp{Kind: stampFunction, Name: name, Value: digest})
	}
	sort.Slice(a.st.Stamps, func(i, j int) bool { return a.st.Stamps[i].Name < a.st.Stamps[j].Name })
}

// relation notes a relation once.
func (a *analysis) relation(r connectors.Relation) {
	for i, known := range a.st.Relations {
		if known.Schema == r.Schema && known.Name == r.Name {
			a.st.Relations[i].Write = known.Write || r.Write
			return
		}
	}
	a.st.Relations = append(a.st.Relations, r)
}
