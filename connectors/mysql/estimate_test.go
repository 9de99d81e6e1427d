package mysql

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/chaperone-sql/chaperone/connectors"
)

// TestWalkPlan reads plans as MariaDB 10.11 gives them, without what says nothing.
func TestWalkPlan(t *testing.T) {
	for _, c := range []struct {
		name, plan string
		want       connectors.Estimate
	}{
		{"a table", `{"query_block": {"select_id": 1, "nested_loop": [{"table": {"table_name": "claims", "access_type": "ALL", "rows": 2400, "filtered": 100}}]}}`,
			connectors.Estimate{Rows: 2400, Cost: 2400, Scanned: 2400, Grouped: 2400}},
		{"a condition with a histogram", `{"query_block": {"select_id": 1, "nested_loop": [{"table": {"access_type": "ALL", "rows": 2400, "filtered": 25, "attached_condition": "a = 1"}}]}}`,
			connectors.Estimate{Rows: 600, Cost: 2400, Scanned: 2400, Grouped: 600}},
		{"an equality without", `{"query_block": {"select_id": 1, "nested_loop": [{"table": {"access_type": "ALL", "rows": 2400, "filtered": 100, "attached_condition": "a = 1"}}]}}`,
			connectors.Estimate{Rows: 12, Cost: 2400, Scanned: 2400, Grouped: 12, Guess: true}},
		{"another condition without", `{"query_block": {"select_id": 1, "nested_loop": [{"table": {"access_type": "ALL", "rows": 2400, "filtered": 100, "attached_condition": "a > 1"}}]}}`,
			connectors.Estimate{Rows: 800, Cost: 2400, Scanned: 2400, Grouped: 800, Guess: true}},
		{"a range says its condition twice", `{"query_block": {"select_id": 1, "nested_loop": [{"table": {"access_type": "range", "key": "PRIMARY", "rows": 200, "filtered": 100, "attached_condition": "id <= 200"}}]}}`,
			connectors.Estimate{Rows: 200, Cost: 200, Scanned: 200, Grouped: 200, Guess: true}},
		{"a join with an aggregate of one row", `{"query_block": {"select_id": 1, "nested_loop": [
			{"table": {"table_name": "claims", "access_type": "ALL", "rows": 2400, "filtered": 100}},
			{"block-nl-join": {"table": {"table_name": "<derived3>", "access_type": "ALL", "rows": 2400, "filtered": 100},
				"attached_condition": "claims.amount between stats.m - stats.s and stats.m + stats.s",
				"materialized": {"query_block": {"select_id": 3, "nested_loop": [{"table": {"table_name": "claims", "access_type": "ALL", "rows": 2400, "filtered": 100}}]}}}}]}}`,
			connectors.Estimate{Rows: 160_000, Cost: 160_000, Scanned: 2400, Grouped: 160_000, Guess: true}},
		{"a derived table of ranks has all rows", `{"query_block": {"select_id": 1, "nested_loop": [{"table": {"table_name": "<derived2>", "access_type": "ALL", "rows": 2400, "filtered": 100,
			"materialized": {"query_block": {"select_id": 2, "window_functions_computation": {"sorts": [], "temporary_table": {"nested_loop": [{"table": {"access_type": "ALL", "rows": 2400, "filtered": 100}}]}}}}}}]}}`,
			connectors.Estimate{Rows: 2400, Cost: 4800, Scanned: 2400, Grouped: 2400, Guess: true}},
		{"a subquery for each row", `{"query_block": {"select_id": 1, "nested_loop": [{"table": {"access_type": "ALL", "rows": 2400, "filtered": 100}}],
			"subqueries": [{"expression_cache": {"query_block": {"select_id": 2, "nested_loop": [{"table": {"access_type": "ref", "rows": 3, "filtered": 100}}]}}}]}}`,
			connectors.Estimate{Rows: 2400, Cost: 3000, Scanned: 2400, Grouped: 2400}},
		{"a union", `{"query_block": {"union_result": {"query_specifications": [
			{"query_block": {"select_id": 1, "nested_loop": [{"table": {"access_type": "ALL", "rows": 100, "filtered": 100}}]}},
			{"query_block": {"select_id": 2, "nested_loop": [{"table": {"access_type": "ALL", "rows": 50, "filtered": 100}}]}}]}}}`,
			connectors.Estimate{Rows: 150, Cost: 150, Scanned: 100, Grouped: 100}},
	} {
		var tree any
		if err := json.Unmarshal([]byte(c.plan), &tree); err != nil {
			t.Fatal(err)
		}
		var w walkPlan
		got := connectors.Estimate{Rows: math.Round(w.rows(tree)), Cost: math.Round(w.read), Scanned: w.scanned, Grouped: math.Round(w.grouped), Guess: w.guess}
		if got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}
