package testenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server that runs in its own process group.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// startProcess runs a program with its output in a log file, as another user
// if asUser is not "" and this is root. If keep is true the process outlives
// this one.
func startProcess(log, asUser string, keep bool, env []string, name string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if !keep {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // never left over, even if this process is killed
	}
	if cmd.SysProcAttr.Credential, err = credential(asUser); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", filepath.Base(name), err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func credential(name string) (*syscall.Credential, error) {
	if name == "" || os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // no credential is "as myself"
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
}

// runAs runs a program to its end.
func runAs(ctx context.Context, asUser, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	c, err := credential(asUser)
	if err != nil {
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, out)
	}
	return nil
}

// stop asks the process to end, and kills its group if it does not.
func (p *process) stop(sig syscall.Signal) {
	_ = syscall.Kill(p.cmd.Process.Pid, sig)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
}

// ready polls until probe succeeds, the process ends, or ctx does.
func (p *process) ready(ctx context.Context, what string, probe func(ctx context.Context) error) error {
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before it was ready: %w", what, err)
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// freePort finds a port that nothing listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// program finds a program in the repository's tools, PATH, or the given places.
func program(name string, places ...string) (string, error) {
	if root, err := repository(); err == nil {
		places = append([]string{filepath.Join(root, ".tools", "bin")}, places...)
	}
	for _, place := range places {
		found, _ := filepath.Glob(filepath.Join(place, name))
		if len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is missing; `make install` installs it", name)
	}
	return path, nil
}

// repository is the root of the source tree.
func repository() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, statErr := os.Stat(filepath.Join(dir, "go.mod")); statErr == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("not inside the repository")
		}
		dir = up
	}
	return "", err
}

// privateDir makes a directory that belongs to a user, below one that the user
// may pass.
func privateDir(base, name, owner string) (string, error) {
	dir := filepath.Join(base, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	c, err := credential(owner)
	if err != nil || c == nil {
		return dir, err
	}
	return dir, os.Chown(dir, int(c.Uid), int(c.Gid))
}

// parseServer reads a URL such as postgres://admin:pass@host:port/name.
func parseServer(text string) (*Database, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		return nil, fmt.Errorf("%s: no port", u.Redacted())
	}
	password, _ := u.User.Password()
	return &Database{Host: u.Hostname(), Port: port, Name: strings.TrimPrefix(u.Path, "/"), AdminUser: u.User.Username(),
		AdminPassword: password, DSN: text}, nil
}
