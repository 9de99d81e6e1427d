package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/worm"
	"github.com/chaperone-sql/chaperone/worm/s3"
)

var storageQueries = flag.Int("storage.queries", 512, "queries for each figure of BenchmarkStorage")

// BenchmarkStorage measures what a query costs in the store, on the whole pipeline
// with real servers: objects (each is one PUT) and bytes, from the bucket's own
// listing, by how many requests are in work at once and how many rows they give.
//
//	go test -run xxx -bench Storage -benchtime 1x -timeout 0 ./test/e2e
func BenchmarkStorage(b *testing.B) {
	env := theEnv(b)
	statements := map[string]string{
		"2rows":   "SELECT id, last_name, zip FROM patients WHERE id < 3",
		"100rows": "SELECT id, drug, dose FROM medications WHERE id <= 100",
	}
	for _, clients := range []int{1, 16, 256} {
		for _, rows := range []string{"2rows", "100rows"} {
			b.Run(fmt.Sprintf("%d/%s", clients, rows), func(b *testing.B) {
				for range b.N {
					storageOf(b, env, statements[rows], clients, *storageQueries)
				}
			})
		}
	}
}

func storageOf(b *testing.B, env *environment, statement string, clients, queries int) {
	b.Helper()
	g, err := env.newGateway(fmt.Sprintf("storage-%d", time.Now().UnixNano()%1e9), false, false)
	if err != nil {
		b.Fatal(err)
	}
	defer g.stop()
	g.stop()
	text, err := os.ReadFile(g.config)
	if err != nil {
		b.Fatal(err)
	}
	// Nothing but the queries: no heartbeats, and room for all clients.
	text = bytes.Replace(text, []byte("limits: {max_timeout: 60s}"), []byte("limits: {max_timeout: 60s, per_principal: 256}"), 1)
	text = bytes.Replace(text, []byte("heartbeat: 10s"), []byte("heartbeat: 1h\n  observe: 1h"), 1)
	if err := os.WriteFile(g.config, text, 0o600); err != nil {
		b.Fatal(err)
	}
	if err := g.start(); err != nil {
		b.Fatal(err)
	}
	body, err := json.Marshal(query{"connection": "clinic", "statement": statement, "timeout_ms": 60000})
	if err != nil {
		b.Fatal(err)
	}
	g.post(b, body) // the catalog is read once
	before := g.settledStore(b)
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for range clients {
		all.Go(func() {
			for next.Add(1) <= int64(queries) {
				g.post(b, body)
			}
		})
	}
	all.Wait()
	b.StopTimer()
	after := g.settledStore(b)
	per := func(kind string) float64 { return float64(after[kind]-before[kind]) / float64(queries) }
	b.ReportMetric(per("objects"), "objects/query")
	b.ReportMetric(per("segments"), "segments/query")
	b.ReportMetric(per("links"), "links/query")
	b.ReportMetric(per("bytes"), "bytes/query")
	b.ReportMetric(float64(queries)/b.Elapsed().Seconds(), "queries/s")
}

func (g *gatewayProcess) post(b *testing.B, body []byte) {
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, g.url+"/v1/query", bytes.NewReader(body))
	if err != nil {
		b.Error(err)
		return
	}
	req.Header.Set("Authorization", "Bearer "+g.env.agent)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	var text bytes.Buffer
	_, _ = text.ReadFrom(res.Body)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b.Errorf("%d %s", res.StatusCode, text.String())
	}
}

// settledStore counts what the gateway stored, once that no longer grows.
func (g *gatewayProcess) settledStore(b *testing.B) map[string]int64 {
	b.Helper()
	o := g.env.servers.S3
	store, err := s3.New(context.Background(), s3.Config{Endpoint: o.Endpoint, Region: o.Region, Bucket: o.Bucket, Prefix: g.name + "/",
		PathStyle: true, Retention: time.Hour, AccessKey: o.AccessKey, SecretKey: masking.Secret(o.SecretKey)})
	if err != nil {
		b.Fatal(err)
	}
	last, stable := int64(-1), 0
	for {
		now := map[string]int64{}
		err := store.List(context.Background(), "", "", func(e worm.Entry) bool {
			now["objects"]++
			now["bytes"] += e.Size
			for _, kind := range []string{"segments", "links"} {
				if strings.Contains(e.Key, "/"+kind+"/") {
					now[kind]++
				}
			}
			return true
		})
		if err != nil {
			b.Fatal(err)
		}
		if stable++; now["objects"] != last {
			last, stable = now["objects"], 0
		}
		if stable == 4 {
			return now
		}
		time.Sleep(time.Second)
	}
}
