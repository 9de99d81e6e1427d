package mysql

import (
	"reflect"
	"strings"
	"testing"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// nodeFields are the nodes of the parser that the walk takes, with every field they have:
// what a field does is decided where the node is analysed. A "!" stands before one
// whose presence refuses the statement, a "-" before one that nothing is read from or
// written of (the parser's notes, and what a planner would fill in).
var nodeFields = map[string]any{
	"SelectStmtOpts -Distinct !SQLBigResult !SQLBufferResult SQLCache !SQLSmallResult !CalcFoundRows !StraightJoin !Priority -TableHints -ExplicitAll":                                                                                  ast.SelectStmtOpts{},
	"SelectStmt SelectStmtOpts Distinct From Where Fields GroupBy Having WindowSpecs OrderBy Limit !LockInfo !TableHints IsInBraces WithBeforeBraces -QueryBlockOffset !SelectIntoOpt AfterSetOperator !Kind !Lists With -AsViewSchema": ast.SelectStmt{},
	"SetOprStmt IsInBraces SelectList OrderBy Limit With":                                                                    ast.SetOprStmt{},
	"SetOprSelectList With AfterSetOperator Selects Limit OrderBy":                                                           ast.SetOprSelectList{},
	"InsertStmt !IsReplace !IgnoreErr Table Columns Lists Setlist !Priority OnDuplicate Select !TableHints !PartitionNames":  ast.InsertStmt{},
	"UpdateStmt TableRefs List Where Order Limit !Priority !IgnoreErr !MultipleTable !TableHints !With":                      ast.UpdateStmt{},
	"DeleteStmt TableRefs !Tables Where Order Limit !Priority !IgnoreErr !Quick !IsMultiTable -BeforeFrom !TableHints !With": ast.DeleteStmt{},
	"TableSource Source AsName !Lateral ColumnNames":                                                                         ast.TableSource{},
	"TableName Schema Name !IndexHints !PartitionNames !TableSample !AsOf -IsAlias":                                          ast.TableName{},
	"Join Left Right Tp On Using NaturalJoin StraightJoin -ExplicitParens":                                                   ast.Join{},
	"OnCondition Expr": ast.OnCondition{},
	"SelectField -Offset WildCard Expr AsName -Auxiliary -AuxiliaryColInAgg -AuxiliaryColInOrderBy": ast.SelectField{},
	"WildCardField Table Schema":    ast.WildCardField{},
	"FieldList Fields":              ast.FieldList{},
	"TableRefsClause TableRefs":     ast.TableRefsClause{},
	"GroupByClause Items Rollup":    ast.GroupByClause{},
	"HavingClause Expr":             ast.HavingClause{},
	"OrderByClause Items -ForUnion": ast.OrderByClause{},
	"ByItem Expr Desc -NullOrder":   ast.ByItem{},
	"Limit Count Offset":            ast.Limit{},
	"WithClause IsRecursive CTEs":   ast.WithClause{},
	"CommonTableExpression Name Query ColNameList -IsRecursive -ConsumerCount": ast.CommonTableExpression{},
	"Assignment Column Expr":                                       ast.Assignment{},
	"WindowSpec Name Ref PartitionBy OrderBy Frame OnlyAlias":      ast.WindowSpec{},
	"FrameClause Type Extent":                                      ast.FrameClause{},
	"FrameExtent Start End":                                        ast.FrameExtent{},
	"FrameBound Type UnBounded Expr Unit":                          ast.FrameBound{},
	"PartitionByClause Items":                                      ast.PartitionByClause{},
	"BetweenExpr Expr Left Right Not":                              ast.BetweenExpr{},
	"BinaryOperationExpr Op L R":                                   ast.BinaryOperationExpr{},
	"WhenClause Expr Result":                                       ast.WhenClause{},
	"CaseExpr Value WhenClauses ElseClause":                        ast.CaseExpr{},
	"SubqueryExpr Query -Evaluated -Correlated -MultiRows -Exists": ast.SubqueryExpr{},
	"CompareSubqueryExpr L Op R All":                               ast.CompareSubqueryExpr{},
	"ColumnName Schema Table Name":                                 ast.ColumnName{},
	"ColumnNameExpr Name":                                          ast.ColumnNameExpr{},
	"DefaultExpr !Name":                                            ast.DefaultExpr{},
	"ExistsSubqueryExpr Sel Not":                                   ast.ExistsSubqueryExpr{},
	"PatternInExpr Expr List Not Sel":                              ast.PatternInExpr{},
	"IsNullExpr Expr Not":                                          ast.IsNullExpr{},
	"IsTruthExpr Expr Not True":                                    ast.IsTruthExpr{},
	"PatternLikeOrIlikeExpr Expr Pattern Not !IsLike Escape -EscapeExplicit -PatChars -PatTypes": ast.PatternLikeOrIlikeExpr{},
	"ParenthesesExpr Expr":                                       ast.ParenthesesExpr{},
	"PositionExpr N !P":                                          ast.PositionExpr{},
	"PatternRegexpExpr Expr Pattern Not -Re -Sexpr":              ast.PatternRegexpExpr{},
	"RowExpr Values":                                             ast.RowExpr{},
	"UnaryOperationExpr Op V":                                    ast.UnaryOperationExpr{},
	"ValuesExpr Column":                                          ast.ValuesExpr{},
	"MatchAgainst ColumnNames Against Modifier":                  ast.MatchAgainst{},
	"SetCollationExpr Expr Collate":                              ast.SetCollationExpr{},
	"FuncCallExpr Tp !Schema FnName Args":                        ast.FuncCallExpr{},
	"FuncCastExpr Expr Tp FunctionType ExplicitCharSet":          ast.FuncCastExpr{},
	"TrimDirectionExpr Direction":                                ast.TrimDirectionExpr{},
	"AggregateFuncExpr F Args Distinct Order":                    ast.AggregateFuncExpr{},
	"WindowFuncExpr Name Args Distinct IgnoreNull FromLast Spec": ast.WindowFuncExpr{},
	"TimeUnitExpr Unit":                                          ast.TimeUnitExpr{},
	"GetFormatSelectorExpr Selector":                             ast.GetFormatSelectorExpr{},
}

// TestWholeTree: a parser that gives a node another field, which would be written
// into the text without having been looked at, must not go unnoticed.
func TestWholeTree(t *testing.T) {
	for said, node := range nodeFields {
		fields := strings.Fields(said)
		typ := reflect.TypeOf(node)
		if typ.Name() != fields[0] {
			t.Errorf("%s is listed as %s", typ.Name(), fields[0])
		}
		var has []string
		for i := range typ.NumField() {
			if f := typ.Field(i); f.IsExported() {
				has = append(has, f.Name)
			}
		}
		for i := range fields {
			fields[i] = strings.TrimLeft(fields[i], "!-")
		}
		if got := strings.Join(has, " "); got != strings.Join(fields[1:], " ") {
			t.Errorf("%s has the fields\n%s\nlisted are\n%s", typ.Name(), got, strings.Join(fields[1:], " "))
		}
	}
}

// TestSameName: where names of tables ignore case, they do so as the server has it.
func TestSameName(t *testing.T) {
	a := &analysis{cat: &catalog{fold: true}}
	for x, y := range map[string]string{"s": "ſ", "k": "\u212a", "é": "É"} {
		if a.sameName(x, y) {
			t.Errorf("%s and %s are two names to the server", x, y)
		}
	}
	if !a.sameName("Wards", "wARDS") {
		t.Error("case is ignored")
	}
}
