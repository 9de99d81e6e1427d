package testenv

import (
	"context"
	"os"
	"strings"
	"syscall"
)

// Shared are servers that the test packages of one run share. Each test makes a
// database or bucket of its own on them.
type Shared struct {
	postgres, mariadb *Database
	s3                *ObjectStore
	processes         []*process
	signals           []syscall.Signal
}

// StartShared runs PostgreSQL, MariaDB and the S3 server. Vault's mounts have
// fixed names, so each test that needs it runs its own.
func StartShared(ctx context.Context, dir string) (s *Shared, err error) {
	s = &Shared{}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // postgres and mysql must get through
		return s, err
	}
	var p *process
	if s.postgres, p, err = startPostgres(ctx, dir, false); p != nil {
		s.processes, s.signals = append(s.processes, p), append(s.signals, quitPostgres)
	}
	if err != nil {
		return s, err
	}
	if s.mariadb, p, err = startMariaDB(ctx, dir, false); p != nil {
		s.processes, s.signals = append(s.processes, p), append(s.signals, quitOther)
	}
	if err != nil {
		return s, err
	}
	if s.s3, p, err = startS3(ctx, dir, false); p != nil {
		s.processes, s.signals = append(s.processes, p), append(s.signals, quitOther)
	}
	return s, err
}

// Environment names the servers to the tests.
func (s *Shared) Environment() []string {
	return []string{
		EnvPostgres + "=" + s.postgres.DSN,
		EnvMariaDB + "=" + s.mariadb.DSN,
		EnvS3 + "=" + strings.Replace(s.s3.Endpoint, "http://", "http://"+s.s3.AccessKey+":"+s.s3.SecretKey+"@", 1),
	}
}

// Stop ends the servers.
func (s *Shared) Stop() {
	for i := len(s.processes) - 1; i >= 0; i-- {
		s.processes[i].stop(s.signals[i])
	}
}

// StartDatabases runs PostgreSQL and MariaDB alone, each with an empty database.
func StartDatabases(ctx context.Context, dir string) (postgres, mariadb *Database, stop func(), err error) {
	s := &Shared{}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	if postgres, err = s.start(ctx, dir, startPostgres, quitPostgres, freshPostgres); err != nil {
		return nil, nil, nil, err
	}
	if mariadb, err = s.start(ctx, dir, startMariaDB, quitOther, freshMariaDB); err != nil {
		return nil, nil, nil, err
	}
	return postgres, mariadb, s.Stop, nil
}

// start runs one server and makes a database on it.
func (s *Shared) start(ctx context.Context, dir string, run func(context.Context, string, bool) (*Database, *process, error),
	quit syscall.Signal, fresh func(context.Context, *Database, string) (*Database, func(), error)) (*Database, error) {
	server, p, err := run(ctx, dir, false)
	if p != nil {
		s.processes, s.signals = append(s.processes, p), append(s.signals, quit)
	}
	if err != nil {
		return nil, err
	}
	db, _, err := fresh(ctx, server, randomName("b"))
	return db, err
}
