package postgres

import (
	"context"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/jackc/pgx/v5"
)

type Engine struct{}

func New() *Engine           { return &Engine{} }
func (e *Engine) Name() string { return "postgres" }
func (e *Engine) Analyze(cat connectors.Catalog, in connectors.Input) (*connectors.Statement, error) {
	return nil, &connectors.Error{Kind: connectors.KindUnsupported, Message: "stub"}
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}
type catalog struct{}

func (*catalog) Version() string             { return "" }
func (*catalog) Tables() []connectors.Table { return nil }
func loadCatalog(ctx context.Context, q querier, sp []string) (*catalog, error) { return &catalog{}, nil }
func currentStamps(ctx context.Context, q querier, s []connectors.Stamp) ([]connectors.Stamp, error) {
	return s, nil
}
