package mysql

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/pingcap/tidb/pkg/parser"
	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/mysql"
	"github.com/pingcap/tidb/pkg/parser/test_driver"

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
	pointed bool // a raw column is asked for
	hidden  int  // hidden raw columns so far
	views   int  // how deep in views the analysis is
	// strict is true for a definition: whatever a protected column is part of is
	// protected.
	strict bool
	// decides are, of a definition, the uses by which there are rows or none: of
	// conditions, groups and orders, also of those beneath views and WITH.
	decides []connectors.Use
	// ranged is true in a definition that tests for NULL what an index may begin
	// with: rows that are found by it come in its order.
	ranged bool
	// keyed are the rows whose key is grouped by; harmless is true in an ORDER BY
	// that chooses no rows.
	keyed    map[rowOf]bool
	harmless bool
	// stamped are the relations that the statement relies on.
	stamped map[string]bool
	// rewrites are the references that become derived tables once everything
	// is known about their use.
	rewrites []*source
	// reads are the references to common table expressions and derived tables.
	reads   []*source
	notes   map[string]bool
	markers []*test_driver.ParamMarkerExpr
	counted []*ast.ColumnNameExpr // references to counts of a query below
	// summed is true if the query that was analysed last gives no protected rows,
	// only summaries.
	summed bool
	// understood are the tables and calls that the walk met, and what it made.
	understood map[ast.Node]bool
}

// run parses, resolves, rewrites and restores.
func (a *analysis) run() error {
	a.stamped, a.notes, a.understood = map[string]bool{}, map[string]bool{}, map[ast.Node]bool{}
	text, order, offsets := a.in.Text, []int(nil), []int(nil)
	if a.in.Names != nil {
		var err error
		if text, order, offsets, err = positional(text, a.in.Names); err != nil {
			return err
		}
	}
	node, err := parse(text)
	if err != nil {
		return err
	}
	if query := shownBy(node); query != "" {
		if node, err = parse(query); err != nil {
			return err
		}
	}
	if done, err := a.other(node, text); done || err != nil {
		return err
	}
	if err := a.parameters(node, order, offsets); err != nil {
		return err
	}
	// What the client said, without its comments; literals go below.
	said, err := restore(node)
	if err != nil {
		return err
	}
	normal, digest := parser.NormalizeDigest(said)
	a.st.Normalized, a.st.Fingerprint = normal, digest.String()
	if err := a.statement(node); err != nil {
		return err
	}
	if err := a.rewrite(); err != nil {
		return err
	}
	if err := a.complete(node); err != nil {
		return err
	}
	a.st.Text, err = verified(node)
	if err != nil {
		return err
	}
	a.finish()
	a.st.Runnable = true
	return nil
}

// parse reads exactly one statement in the mode that sessions are pinned to.
func parse(text string) (ast.StmtNode, error) {
	p := parser.New() // not safe for concurrent use, and cheap beside the parse
	mode, err := mysql.GetSQLMode(SQLMode)
	if err != nil {
		return nil, fmt.Errorf("sql_mode: %w", err)
	}
	p.SetSQLMode(mode)
	nodes, _, err := p.ParseSQL(text, parser.CharsetConnection("utf8mb4"), parser.CollationConnection(collation))
	if err != nil {
		return nil, &connectors.Error{Kind: connectors.KindSyntax, SQLState: "42000", Message: "syntax error" + near(err),
			Hint: "MariaDB's RETURNING, JSON_TABLE, VALUES, FOR SYSTEM_TIME, FETCH FIRST and EXECUTE IMMEDIATE are not understood; see docs/limitations.md for what to write instead."}
	}
	switch len(nodes) {
	case 0:
		return nil, &connectors.Error{Kind: connectors.KindMalformed, Message: "the statement is empty"}
	case 1:
		return nodes[0], nil
	}
	return nil, &connectors.Error{Kind: connectors.KindMalformed, Message: "one statement a request, please",
		Hint: "Send each statement by itself."}
}

// near keeps of a parser's error where it stopped; the text it quotes stays out.
func near(err error) string {
	var line, column int
	if _, scanErr := fmt.Sscanf(err.Error(), "line %d column %d", &line, &column); scanErr != nil {
		return ""
	}
	return fmt.Sprintf(" near line %d, column %d", line, column)
}

// parameters checks the markers against what was given.
func (a *analysis) parameters(node ast.StmtNode, order, offsets []int) error {
	v := &markers{}
	node.Accept(v)
	sort.Slice(v.found, func(i, j int) bool { return v.found[i].Offset < v.found[j].Offset })
	if a.in.Names != nil {
		at := make([]int, len(v.found))
		for i, m := range v.found {
			at[i] = m.Offset
		}
		if !slices.Equal(at, offsets) {
			return unsupported("the statement's markers could not be told apart", "Use ? markers and a list of parameters.")
		}
		for i := range a.in.Names {
			if !slices.Contains(order, i) {
				return &connectors.Error{Kind: connectors.KindParameter, Message: "a parameter has no marker in the statement"}
			}
		}
	} else {
		if len(v.found) != a.in.Count {
			return countError(len(v.found), a.in.Count)
		}
		for i := range v.found {
			order = append(order, i)
		}
	}
	for i, m := range v.found {
		m.Order = order[i] // the client's parameter
	}
	a.markers = v.found
	// LIMIT n OFFSET m is restored as LIMIT m,n.
	for _, l := range v.limits {
		count, ok1 := l.Count.(*test_driver.ParamMarkerExpr)
		offset, ok2 := l.Offset.(*test_driver.ParamMarkerExpr)
		if ok1 && ok2 && count.Offset < offset.Offset {
			i, j := slices.Index(a.markers, count), slices.Index(a.markers, offset)
			a.markers[i], a.markers[j] = a.markers[j], a.markers[i]
		}
	}
	for _, m := range a.markers {
		a.st.Order = append(a.st.Order, m.Order)
	}
	return nil
}

// markers collects parameter markers and limits.
type markers struct {
	found  []*test_driver.ParamMarkerExpr
	limits []*ast.Limit
}

func (v *markers) Enter(n ast.Node) (ast.Node, bool) {
	switch n := n.(type) {
	case *test_driver.ParamMarkerExpr:
		v.found = append(v.found, n)
	case *ast.Limit:
		v.limits = append(v.limits, n)
	}
	return n, false
}

func (*markers) Leave(n ast.Node) (ast.Node, bool) { return n, true }

// statement analyses the kinds that can run.
func (a *analysis) statement(node ast.StmtNode) error {
	switch n := node.(type) {
	case *ast.SelectStmt, *ast.SetOprStmt:
		a.st.Kind = connectors.KindSelect
		a.st.Shape.Limit = -1
		out, err := a.query(n, nil, true)
		if err != nil {
			return err
		}
		a.outputs(out)
		return nil
	case *ast.InsertStmt:
		a.st.Kind, a.st.Write = connectors.KindInsert, true
		return a.insert(n)
	case *ast.UpdateStmt:
		a.st.Kind, a.st.Write = connectors.KindUpdate, true
		return a.update(n)
	case *ast.DeleteStmt:
		a.st.Kind, a.st.Write = connectors.KindDelete, true
		return a.delete(n)
	}
	return unsupported("this kind of statement is not understood", "")
}

// other recognises what is understood only well enough to be denied.
func (a *analysis) other(node ast.StmtNode, text string) (bool, error) {
	var kind connectors.Kind
	switch n := node.(type) {
	case *ast.SelectStmt, *ast.SetOprStmt, *ast.InsertStmt, *ast.UpdateStmt, *ast.DeleteStmt:
		return false, nil
	case *ast.ExplainStmt:
		kind = connectors.KindExplain
		if _, describes := n.Stmt.(*ast.ShowStmt); describes { // DESCRIBE patients, which asks for no plan
			kind = connectors.KindShow
		}
	case *ast.ExplainForStmt, *ast.TraceStmt:
		kind = connectors.KindExplain
	case *ast.ShowStmt, *ast.HelpStmt:
		kind = connectors.KindShow
	case *ast.CallStmt, *ast.PrepareStmt, *ast.ExecuteStmt, *ast.DeallocateStmt, *ast.DoStmt, *ast.ProcedureInfo:
		kind = connectors.KindCall
	case *ast.LoadDataStmt, *ast.ImportIntoStmt:
		kind = connectors.KindCopy
	case *ast.GrantStmt, *ast.GrantRoleStmt, *ast.GrantProxyStmt, *ast.RevokeStmt, *ast.RevokeRoleStmt, *ast.CreateUserStmt,
		*ast.AlterUserStmt, *ast.DropUserStmt, *ast.RenameUserStmt, *ast.SetPwdStmt, *ast.SetRoleStmt, *ast.SetDefaultRoleStmt:
		kind = connectors.KindGrant
	case *ast.SetStmt, *ast.UseStmt, *ast.BeginStmt, *ast.CommitStmt, *ast.RollbackStmt, *ast.SavepointStmt,
		*ast.ReleaseSavepointStmt, *ast.LockTablesStmt, *ast.UnlockTablesStmt:
		kind = connectors.KindSession
	case *ast.KillStmt, *ast.FlushStmt, *ast.AnalyzeTableStmt, *ast.ShutdownStmt, *ast.RestartStmt, *ast.BinlogStmt, *ast.AdminStmt:
		kind = connectors.KindUtility
	default:
		if _, ok := node.(ast.DDLNode); !ok {
			return false, unsupported("this kind of statement is not understood", "")
		}
		kind = connectors.KindDDL
	}
	normal, digest := parser.NormalizeDigest(text)
	a.st.Kind, a.st.Normalized, a.st.Fingerprint = kind, normal, digest.String()
	return true, nil
}

// use notes a use of a protected column and returns what it sees.
func (a *analysis) use(ref masking.ColumnRef, class masking.Class, kind connectors.UseKind, seen connectors.Seen, openable bool) string {
	a.uses++
	id := fmt.Sprintf("u%d", a.uses)
	u := connectors.Use{ID: id, Column: ref, Class: class.Name, Kind: kind, Seen: seen, Openable: openable && a.cat.masked == ""}
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
	return id
}

func (a *analysis) note(text string) {
	if !a.notes[text] {
		a.notes[text] = true
		a.st.Notes = append(a.st.Notes, text)
	}
}

// opened reports whether an approval opened the use that comes next.
func (a *analysis) opened() bool { return slices.Contains(a.in.Open, fmt.Sprintf("u%d", a.uses+1)) }

// outputs describes the result's columns.
func (a *analysis) outputs(cols []column) {
	for _, c := range cols {
		out := connectors.Output{Name: c.name, Source: c.ref, Detect: true}
		if c.plain && c.class != nil {
			out.Class, out.Mask, out.Gateway, out.Type, out.Detect = c.class.Name, c.class.Mask.Kind, c.gateway, c.typ, false
		}
		out.Count, out.Counts, out.Hidden = c.count, c.counts, c.cell
		if a.in.Cells && c.count && len(out.Counts) == 0 { // of a set operation
			out.Counts = []int{len(a.st.Outputs)}
		}
		a.st.Outputs = append(a.st.Outputs, out)
	}
}

// finish sorts what was collected, and stamps the relations.
func (a *analysis) finish() {
	names := make([]string, 0, len(a.stamped))
	for name := range a.stamped {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		a.st.Stamps = append(a.st.Stamps, connectors.Stamp{Kind: "relation", Name: a.cat.place() + "." + name,
			Value: a.cat.tables[a.cat.tableKey(name)].stamp})
	}
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

// protected reports whether a table has protected columns.
func (a *analysis) protected(t *table) bool { return len(a.protection(t).classes) > 0 }

// suggest proposes the nearest of some names.
func suggest(name string, among []string) string {
	best, distance := "", 4
	for _, candidate := range among {
		d := editDistance(strings.ToLower(name), strings.ToLower(candidate))
		if (d < distance || d == distance && candidate < best) && d <= len(candidate)/2 { // whatever order they come in
			best, distance = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return "Did you mean " + best + "?"
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		last := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			last, row[j] = row[j], min(row[j]+1, row[j-1]+1, last+cost)
		}
	}
	return row[len(b)]
}
