// Command vaultd is a real Vault server trimmed to what Chaperone needs:
// in-memory storage, the database secrets engine with its PostgreSQL and MySQL
// plugins, and AppRole. It serves tests and the development stack only.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	credAppRole "github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/logical/database"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/plugins/database/mysql"
	"github.com/hashicorp/vault/plugins/database/postgresql"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

// plugins is the registry of the built-in database plugins.
type plugins struct{}

var databases = map[string]func() (interface{}, error){
	"postgresql-database-plugin": postgresql.New,
	"mysql-database-plugin":      mysql.New(mysql.DefaultUserNameTemplate),
}

func (plugins) Contains(name string, kind consts.PluginType) bool {
	_, ok := databases[name]
	return ok && kind == consts.PluginTypeDatabase
}

func (plugins) Get(name string, kind consts.PluginType) (func() (interface{}, error), bool) {
	f, ok := databases[name]
	return f, ok && kind == consts.PluginTypeDatabase
}

func (plugins) Keys(kind consts.PluginType) []string {
	if kind != consts.PluginTypeDatabase {
		return nil
	}
	names := make([]string, 0, len(databases))
	for name := range databases {
		names = append(names, name)
	}
	return names
}

func (plugins) DeprecationStatus(string, consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, true
}

func (plugins) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	ready := flag.String("ready-file", "", "file that gets {\"addr\":…,\"token\":…} once the server answers")
	flag.Parse()
	if err := run(*listen, *ready); err != nil {
		fmt.Fprintln(os.Stderr, "vaultd:", err)
		os.Exit(1)
	}
}

func run(listen, ready string) error {
	log := hclog.New(&hclog.LoggerOptions{Name: "vaultd", Level: hclog.Info, Output: os.Stderr})
	storage, err := inmem.NewInmem(nil, log)
	if err != nil {
		return err
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:           storage,
		LogicalBackends:    map[string]logical.Factory{"database": database.Factory},
		CredentialBackends: map[string]logical.Factory{"approle": credAppRole.Factory},
		BuiltinRegistry:    plugins{},
		DisableMlock:       true,
		Logger:             log,
		DefaultLeaseTTL:    5 * time.Minute,
		MaxLeaseTTL:        24 * time.Hour,
	})
	if err != nil {
		return err
	}
	ctx := context.Background()
	initialised, err := core.Initialize(ctx, &vault.InitParams{
		BarrierConfig:  &vault.SealConfig{SecretShares: 1, SecretThreshold: 1},
		RecoveryConfig: &vault.SealConfig{},
	})
	if err != nil {
		return err
	}
	if ok, err := core.Unseal(vault.TestKeyCopy(initialised.SecretShares[0])); err != nil || !ok {
		return errors.Join(errors.New("unsealing"), err)
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core, ListenerConfig: &configutil.Listener{}}),
		ReadHeaderTimeout: 10 * time.Second,
	}
	note, err := json.Marshal(map[string]string{"addr": "http://" + l.Addr().String(), "token": initialised.RootToken})
	if err != nil {
		return err
	}
	if ready != "" {
		if err := os.WriteFile(ready+".tmp", note, 0o600); err != nil {
			return err
		}
		if err := os.Rename(ready+".tmp", ready); err != nil {
			return err
		}
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-stop
		_ = server.Close()
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return core.Shutdown()
}
