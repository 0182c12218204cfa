//go:build unix

package postgres_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The tests start a server of their own, in a temporary folder. PostgreSQL refuses to run as root, so root starts it as another user.

// serverVariable is an environment variable with the connection string of the server, for processes that tests start.
const serverVariable = "EDGEWS_POSTGRES_TEST_SERVER"

func TestMain(m *testing.M) {
	code := m.Run()
	if server.stop != nil {
		server.stop()
	}
	os.Exit(code)
}

// server is started by the first test that needs it.
var server struct {
	once sync.Once
	conn string // connection string
	err  error
	stop func()
}

// database returns the connection string of an empty database server. Without PostgreSQL the test is skipped, or fails in CI.
func database(t testing.TB) string {
	t.Helper()
	if conn := os.Getenv(serverVariable); conn != "" {
		return conn
	}
	bin := serverPrograms()
	switch {
	case bin == "" && os.Getenv("CI") == "true":
		t.Fatal("PostgreSQL is not installed, and in CI it has to be")
	case bin == "":
		t.Skip("PostgreSQL is not installed")
	}
	server.once.Do(func() { server.conn, server.stop, server.err = startServer(bin) })
	if server.err != nil {
		t.Fatalf("the PostgreSQL server does not start: %v", server.err)
	}
	return server.conn
}

// serverPrograms returns the folder of PostgreSQL's programs, or "". Debian has one for each version, not in PATH.
func serverPrograms() string {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path)
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return ""
	}
	version := func(path string) (n int) {
		fmt.Sscanf(path, "/usr/lib/postgresql/%d/", &n)
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) }))
}

func startServer(bin string) (conn string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "edgews-pg-") // not t.TempDir: the path of a socket is limited to about 100 bytes
	if err != nil {
		return "", nil, err
	}
	attr, err := unprivileged(dir)
	if err != nil {
		return "", nil, err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "edgews", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = attr, dir
	if output, err := initdb.CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("initdb: %w: %s", err, output)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return "", nil, err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "max_connections=500")
	cmd.SysProcAttr, cmd.Dir, cmd.Stdout, cmd.Stderr = attr, dir, log, log
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // a fast shutdown
		<-ended
		_ = os.RemoveAll(dir)
	}
	conn = "postgres:///postgres?user=edgews&host=" + url.QueryEscape(dir)
	if err := awaitServer(conn, ended); err != nil {
		output, _ := os.ReadFile(log.Name())
		return "", nil, fmt.Errorf("%w: %s", err, output)
	}
	return conn, stop, nil
}

// unprivileged returns the attributes of processes that may not run as root, and gives them dir.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	who, err := user.Lookup("postgres")
	if err != nil {
		if who, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err1 := strconv.Atoi(who.Uid)
	gid, err2 := strconv.Atoi(who.Gid)
	if err1 != nil || err2 != nil {
		return nil, fmt.Errorf("user %s has no number", who.Username)
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, os.Chown(dir, uid, gid)
}

// awaitServer waits until the server answers. ended has an element when it has ended.
func awaitServer(conn string, ended chan error) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		c, err := pgx.Connect(ctx, conn)
		if err == nil {
			return c.Close(ctx)
		}
		select {
		case err := <-ended:
			ended <- err
			return fmt.Errorf("it has ended: %v", err)
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond): // there is no event to wait for
		}
	}
}

var schemas atomic.Int64

// newSchema returns the name of a schema that does not exist.
func newSchema() string { return fmt.Sprintf("test \"%d\"", schemas.Add(1)) }
