package main

import (
	"context"
	"fmt"
	"io"
	"net"

	gms "github.com/dolthub/go-mysql-server"
	"github.com/dolthub/go-mysql-server/memory"
	"github.com/dolthub/go-mysql-server/server"
	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/analyzer"
	"github.com/dolthub/go-mysql-server/sql/mysql_db"
	"github.com/sirupsen/logrus"
)

// database is a MySQL-compatible server in this process. It speaks the wire
// protocol and enforces users and grants, so the demo uses the product's real
// connector and a real database user for each request.
type database struct {
	server *server.Server
	port   int
}

// startDatabase serves an empty database of the given name on an ephemeral
// loopback port, with an administrator.
func startDatabase(name, admin, password string) (*database, error) {
	logrus.SetOutput(io.Discard) // the server's own log has no other switch
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	provider := memory.NewDBProvider(memory.NewDatabase(name))
	engine := gms.New(analyzer.NewBuilder(provider).Build(), &gms.Config{})
	users := engine.Analyzer.Catalog.MySQLDb
	users.SetPersister(&mysql_db.NoopPersister{})
	users.AddRootAccount() // switches privileges on
	editor := users.Editor()
	users.AddSuperUser(editor, admin, "%", password)
	editor.Close()
	newContext := func(ctx context.Context, opts ...sql.ContextOption) *sql.Context { return sql.NewContext(ctx, opts...) }
	srv, err := server.NewServer(server.Config{Protocol: "tcp", Listener: l, Address: l.Addr().String()}, engine,
		newContext, memory.NewSessionBuilder(provider), nil)
	if err != nil {
		return nil, fmt.Errorf("starting the embedded database: %w", err)
	}
	go func() { _ = srv.Start() }() // ends with Close
	return &database{server: srv, port: l.Addr().(*net.TCPAddr).Port}, nil
}

// close stops the server and everything in it.
func (d *database) close() { _ = d.server.Close() }
