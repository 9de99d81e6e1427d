// Command bench measures what the gateway costs: the same query direct with
// pgx, by hand with a Vault credential for each query, and through the gateway,
// at 1, 4 and 16 clients. It needs the development stack (.stack/env) and
// prints one Markdown table. Compare the ratios, not the milliseconds.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	vault "github.com/hashicorp/vault/api"
	"github.com/jackc/pgx/v5"
)

const statement = "SELECT id, drug, dose FROM medications WHERE patient_id = $1"

func main() {
	each := flag.Int("n", 300, "queries for each row of the table")
	flag.Parse()
	if err := run(*each, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// way is one way to run the query; open gives each client its own.
type way struct {
	name string
	open func(ctx context.Context) (query func(ctx context.Context, patient int) error, stop func(), err error)
}

func run(each int, out io.Writer) error {
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Minute)
	defer stop()
	dsn, err := env("PG_ADMIN_DSN")
	if err != nil {
		return err
	}
	ways := []way{{"pgx, warm connection", direct(dsn)}, {"Vault by hand", byHand(dsn)}, {"Chaperone", throughGateway}}
	fmt.Fprintln(out, "| way | clients | p50 ms | p99 ms | queries/s | p50 to by hand |\n|---|---|---|---|---|---|")
	for _, clients := range []int{1, 4, 16} {
		medians := map[string]float64{}
		for _, w := range ways {
			took, wall, err := measure(ctx, w, clients, each)
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			p50, p99 := quantile(took, 0.5), quantile(took, 0.99)
			medians[w.name] = p50
			fmt.Fprintf(out, "| %s | %d | %.2f | %.2f | %.0f | %.2f |\n", w.name, clients, p50, p99,
				float64(len(took))/wall.Seconds(), p50/nonzero(medians["Vault by hand"]))
		}
	}
	return nil
}

func nonzero(f float64) float64 {
	if f == 0 {
		return 1
	}
	return f
}

// measure runs n queries with some clients, after a warm-up, and returns each
// one's milliseconds.
func measure(ctx context.Context, w way, clients, n int) (took []float64, wall time.Duration, err error) {
	var (
		all   sync.WaitGroup
		mu    sync.Mutex
		next  atomic.Int64
		fails []error
	)
	begin := make(chan struct{})
	ready := make(chan error, clients)
	for range clients {
		all.Go(func() {
			query, stop, err := w.open(ctx)
			if err == nil {
				defer stop()
				err = query(ctx, 1)
			}
			ready <- err
			if err != nil {
				return
			}
			<-begin
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				start := time.Now()
				err := query(ctx, int(i%500)+1)
				ms := float64(time.Since(start).Microseconds()) / 1000
				mu.Lock()
				took = append(took, ms)
				if err != nil {
					fails = append(fails, err)
				}
				mu.Unlock()
			}
		})
	}
	for range clients {
		if e := <-ready; e != nil {
			err = errors.Join(err, e)
		}
	}
	start := time.Now()
	close(begin)
	all.Wait()
	return took, time.Since(start), errors.Join(append(fails, err)...)
}

func quantile(values []float64, q float64) float64 {
	slices.Sort(values)
	if len(values) == 0 {
		return 0
	}
	return values[min(len(values)-1, int(q*float64(len(values))))]
}

// direct keeps one connection and its prepared statement: the fastest there is.
func direct(dsn string) func(context.Context) (func(context.Context, int) error, func(), error) {
	return func(ctx context.Context) (func(context.Context, int) error, func(), error) {
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			return nil, nil, err
		}
		return func(ctx context.Context, patient int) error { return read(ctx, conn, patient) },
			func() { _ = conn.Close(ctx) }, nil
	}
}

// byHand does what the gateway does for credentials, and nothing else.
func byHand(dsn string) func(context.Context) (func(context.Context, int) error, func(), error) {
	return func(context.Context) (func(context.Context, int) error, func(), error) {
		addr, err1 := env("VAULT_ADDR")
		token, err2 := env("VAULT_TOKEN")
		if err := errors.Join(err1, err2); err != nil {
			return nil, nil, err
		}
		cfg := vault.DefaultConfig()
		cfg.Address = addr
		client, err := vault.NewClient(cfg)
		if err != nil {
			return nil, nil, err
		}
		client.SetToken(token)
		return func(ctx context.Context, patient int) error {
			lease, err := client.Logical().ReadWithContext(ctx, "database/creds/clinic-ro")
			if err != nil {
				return err
			}
			u, err := url.Parse(dsn)
			if err != nil {
				return err
			}
			user, _ := lease.Data["username"].(string)
			password, _ := lease.Data["password"].(string)
			u.User = url.UserPassword(user, password)
			conn, err := pgx.Connect(ctx, u.String())
			if err != nil {
				return err
			}
			err = read(ctx, conn, patient)
			return errors.Join(err, conn.Close(ctx), client.Sys().RevokeWithOptionsWithContext(ctx,
				&vault.RevokeOptions{LeaseID: lease.LeaseID, Sync: true}))
		}, func() {}, nil
	}
}

func read(ctx context.Context, conn *pgx.Conn, patient int) error {
	rows, err := conn.Query(ctx, statement, patient)
	if err != nil {
		return err
	}
	_, err = pgx.CollectRows(rows, pgx.RowToMap)
	return err
}

func throughGateway(context.Context) (func(context.Context, int) error, func(), error) {
	base, err1 := env("CHAPERONE_URL")
	token, err2 := env("CHAPERONE_AGENT_TOKEN")
	if err := errors.Join(err1, err2); err != nil {
		return nil, nil, err
	}
	client := &http.Client{Timeout: time.Minute}
	return func(ctx context.Context, patient int) error {
		body, err := json.Marshal(map[string]any{
			"connection": "clinic", "statement": statement, "parameters": []any{patient},
		})
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/query", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("HTTP %d: %s", res.StatusCode, answer)
		}
		return err
	}, client.CloseIdleConnections, nil
}

func env(name string) (string, error) {
	if v := os.Getenv(name); v != "" {
		return v, nil
	}
	return "", fmt.Errorf("%s is not set: start the stack with `make up` and load .stack/env", name)
}
