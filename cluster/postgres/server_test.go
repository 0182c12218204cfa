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

	"github.com/edgews/edgews/cluster/internal/faultrun"
)

// The tests start a server of their own, in a temporary folder. PostgreSQL refuses to run as root, so root starts it as another user.

// serverVariable is an environment variable with the connection string of the server, for processes that tests start.
const serverVariable = "EDGEWS_POSTGRES_TEST_SERVER"

func TestMain(m *testing.M) {
	if faultrun.Main(connectNode) {
		return
	}
	code := m.Run()
	if shared.server != nil {
		shared.server.remove()
	}
	os.Exit(code)
}

// shared is the server of most tests, started by the first that needs it.
var shared struct {
	once   sync.Once
	server *server
	err    error
}

// database returns the connection string of the shared server.
func database(t testing.TB) string {
	t.Helper()
	if conn := os.Getenv(serverVariable); conn != "" {
		return conn
	}
	bin := programsOrSkip(t)
	shared.once.Do(func() { shared.server, shared.err = newServer(bin) })
	if shared.err != nil {
		t.Fatalf("the PostgreSQL server does not start: %v", shared.err)
	}
	return shared.server.conn()
}

// ownServer returns a server that only this test uses.
func ownServer(t testing.TB) *server {
	t.Helper()
	s, err := newServer(programsOrSkip(t))
	if err != nil {
		t.Fatalf("the PostgreSQL server does not start: %v", err)
	}
	t.Cleanup(s.remove)
	return s
}

// programsOrSkip returns the folder of PostgreSQL's programs. Without PostgreSQL the test is skipped, or fails in CI.
func programsOrSkip(t testing.TB) string {
	t.Helper()
	bin := serverPrograms()
	switch {
	case bin == "" && os.Getenv("CI") == "true":
		t.Fatal("PostgreSQL is not installed, and in CI it has to be")
	case bin == "":
		t.Skip("PostgreSQL is not installed")
	}
	return bin
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

// server is a PostgreSQL server with a folder of its own.
type server struct {
	bin, dir string
	attr     *syscall.SysProcAttr
	cmd      *exec.Cmd
	limit    int        // bytes that a file of the server may have; 0: any number
	ended    chan error // has an element when the process has ended
}

func newServer(bin string) (*server, error) { return newLimitedServer(bin, 0) }

// newLimitedServer starts a server whose files may have so many bytes: to it the disk is full then. 0 means any number.
func newLimitedServer(bin string, limit int) (*server, error) {
	dir, err := os.MkdirTemp("", "edgews-pg-") // not t.TempDir: the path of a socket is limited to about 100 bytes
	if err != nil {
		return nil, err
	}
	s := &server{bin: bin, dir: dir, limit: limit}
	if s.attr, err = unprivileged(dir); err != nil {
		return nil, err
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", s.data(), "-U", "edgews", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if limit > 0 {
		initdb.Args = append(initdb.Args, "--wal-segsize=1") // MiB: the files of the log are below the limit
	}
	initdb.SysProcAttr, initdb.Dir = s.attr, dir
	if output, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, output)
	}
	if err := s.start(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

// conn returns the connection string.
func (s *server) conn() string { return connTo(s.dir) }

// connTo returns the connection string for the socket in a folder.
func connTo(dir string) string {
	return "postgres:///postgres?user=edgews&host=" + url.QueryEscape(dir)
}

// start starts the server and waits until it answers.
func (s *server) start() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{filepath.Join(s.bin, "postgres"), "-D", s.data(), "-k", s.dir, "-c", "listen_addresses=", "-c", "max_connections=500"}
	if s.limit > 0 { // dash counts in blocks of 512 bytes; bash does too, as sh
		args = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -f %d && exec "$0" "$@"`, s.limit/512)}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr, cmd.Dir, cmd.Stdout, cmd.Stderr = s.attr, s.dir, log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	s.cmd, s.ended = cmd, ended
	if err := awaitServer(s.conn(), ended); err != nil {
		output, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%w: %s", err, output)
	}
	return nil
}

// crash has all processes of the server end at once, without a checkpoint.
func (s *server) crash() {
	_ = s.cmd.Process.Signal(syscall.SIGQUIT)
	<-s.ended
}

// remove stops the server and removes its folder.
func (s *server) remove() {
	_ = s.cmd.Process.Signal(syscall.SIGINT) // a fast shutdown
	<-s.ended
	_ = os.RemoveAll(s.dir)
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
