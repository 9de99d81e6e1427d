package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-sql/chaperone/connectors"
)

// estimate asks the planner about the statement with its very parameters.
// Advice only: a server that does not tell is no error, a wrong statement is.
func (s *session) estimate(ctx context.Context, oids []uint32) (connectors.Estimate, error) {
	const explain = "EXPLAIN (FORMAT JSON) "
	res := s.conn.PgConn().ExecParams(ctx, explain+s.st.Text, s.values, oids, nil, nil).Read()
	if res.Err != nil {
		var server *pgconn.PgError
		if errors.As(res.Err, &server) {
			server.Position = max(0, server.Position-int32(len(explain)))
		}
		return connectors.Estimate{}, s.failed(ctx, res.Err)
	}
	var plans []struct {
		Plan plan `json:"Plan"`
	}
	if len(res.Rows) != 1 || json.Unmarshal(res.Rows[0][0], &plans) != nil || len(plans) != 1 {
		return connectors.Estimate{}, nil
	}
	top := plans[0].Plan
	est := connectors.Estimate{Known: true, Rows: top.Rows, Cost: top.Cost, Scanned: top.scanned(), Grouped: top.grouped(), Guess: top.guess()}
	if top.Operation != "" && len(top.Plans) > 0 { // ModifyTable itself says 0 rows
		est.Rows = top.Plans[0].Rows
	}
	return est, nil
}

// plan is a node of EXPLAIN's tree.
type plan struct {
	Node      string  `json:"Node Type"`
	Rows      float64 `json:"Plan Rows"`
	Cost      float64 `json:"Total Cost"`
	Operation string  `json:"Operation"`
	Relation  string  `json:"Relation Name"`
	Filter    string  `json:"Filter"`
	Run       string  `json:"Run Condition"` // of a window: until which rank
	Plans     []plan  `json:"Plans"`
}

// guess reports whether something other than a table's own rows is filtered:
// groups, ranks and the like, of which there are no statistics.
func (p plan) guess() bool {
	return p.Run != "" || p.Filter != "" && p.Relation == "" || slices.ContainsFunc(p.Plans, plan.guess)
}

func (p plan) scanned() float64 {
	most := 0.0
	if p.Relation != "" {
		most = p.Rows
	}
	for _, child := range p.Plans {
		most = max(most, child.scanned())
	}
	return most
}

// grouped counts what aggregates take in. With parallel workers that is each
// one's share, and then what they made of it.
func (p plan) grouped() float64 {
	most := 0.0
	for _, child := range p.Plans {
		most = max(most, child.grouped())
		if p.Node == "Aggregate" || p.Node == "WindowAgg" {
			most = max(most, child.Rows)
		}
	}
	return most
}
