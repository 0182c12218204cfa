package edgewsnats_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/internal/faultrun"
	edgewsnats "github.com/edgews/edgews/cluster/nats"
)

// serverEnv has the configuration of the server that a process of the test's binary is to be.
const serverEnv = "EDGEWS_TEST_NATS_SERVER"

func TestMain(m *testing.M) {
	if path := os.Getenv(serverEnv); path != "" {
		beServer(path)
		return
	}
	if faultrun.Main(connectNode) {
		return
	}
	code := m.Run()
	stopShared()
	os.Exit(code)
}

// beServer runs a server until it gets a signal or loses its parent.
func beServer(path string) {
	o, err := server.ProcessConfigFile(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s, err := server.NewServer(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s.ConfigureLogger()
	s.Start()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt, syscall.SIGTERM)
	go func() { // the test holds the other end of the pipe
		_, _ = os.Stdin.Read(make([]byte, 1))
		ended <- os.Interrupt
	}()
	<-ended
	s.Shutdown()
}

// natsServer is a server in a process of its own.
type natsServer struct {
	config string
	url    string
	cmd    *exec.Cmd
	alive  io.Closer // the process ends when this is closed, as when the test ends
}

// startServers starts n servers in one cluster, which call fsync before each acknowledgement. The folder has their files.
func startServers(dir string, n int, extra string) (servers []*natsServer, err error) {
	ports, err := freePorts(2 * n)
	if err != nil {
		return nil, err
	}
	var routes string
	for i := range n {
		routes += fmt.Sprintf("\"nats://127.0.0.1:%d\", ", ports[n+i])
	}
	for i := range n {
		home := filepath.Join(dir, fmt.Sprint("n", i))
		if err := os.MkdirAll(home, 0o700); err != nil {
			return servers, err
		}
		config := fmt.Sprintf(`
server_name: n%d
listen: "127.0.0.1:%d"
log_file: %q
jetstream { store_dir: %q, sync_interval: always }
accounts { SYS: { users: [{user: sys, password: sys}] }, APP: { jetstream: enabled, users: [{user: app, password: app}] } }
system_account: SYS
no_auth_user: app
%s
`, i, ports[i], filepath.Join(home, "log"), home, extra)
		if n > 1 {
			config += fmt.Sprintf("cluster { name: test, listen: \"127.0.0.1:%d\", routes: [%s] }\n", ports[n+i], routes)
		}
		s := &natsServer{config: filepath.Join(home, "conf"), url: fmt.Sprintf("nats://127.0.0.1:%d", ports[i])}
		if err := os.WriteFile(s.config, []byte(config), 0o600); err != nil {
			return servers, err
		}
		servers = append(servers, s)
		if err := s.start(); err != nil {
			return servers, err
		}
	}
	return servers, awaitJetStream(servers, n)
}

func (s *natsServer) start() error {
	s.cmd = exec.Command(os.Args[0])
	s.cmd.Env = append(os.Environ(), serverEnv+"="+s.config)
	s.cmd.Stdout, s.cmd.Stderr = os.Stdout, os.Stderr
	alive, err := s.cmd.StdinPipe()
	if err != nil {
		return err
	}
	s.alive = alive
	return s.cmd.Start()
}

// kill ends the process at once.
func (s *natsServer) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// awaitJetStream waits until a stream with n copies can be created.
func awaitJetStream(servers []*natsServer, n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		attempt, stop := context.WithTimeout(ctx, 2*time.Second) // a request that comes before there is a leader has no answer
		err := tryStream(attempt, servers[0].url, n)
		stop()
		if err == nil || ctx.Err() != nil {
			return err
		}
		t := time.NewTimer(100 * time.Millisecond)
		<-t.C
	}
}

func tryStream(ctx context.Context, url string, n int) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "ready", Replicas: n}); err != nil {
		return err
	}
	return js.DeleteStream(ctx, "ready")
}

// shared are three servers that most tests share.
var shared struct {
	servers []*natsServer
	dir     string
	err     error
	names   atomic.Int64
}

func stopShared() {
	for _, s := range shared.servers {
		s.kill()
	}
	if shared.dir != "" {
		os.RemoveAll(shared.dir)
	}
}

// sharedURLs starts the shared servers if need be. Tests of this package do not run in parallel.
func sharedURLs(t *testing.T) []string {
	t.Helper()
	if shared.dir == "" && shared.err == nil {
		if shared.dir, shared.err = os.MkdirTemp("", "edgewsnats"); shared.err == nil {
			shared.servers, shared.err = startServers(shared.dir, 3, "")
		}
	}
	require.NoError(t, shared.err)
	return urls(shared.servers)
}

func urls(servers []*natsServer) (all []string) {
	for _, s := range servers {
		all = append(all, s.url)
	}
	return all
}

// options returns options for a cluster of its own, which is removed at the end of the test.
func options(t *testing.T, urls []string) edgewsnats.Options {
	t.Helper()
	name := fmt.Sprint("test", shared.names.Add(1))
	t.Cleanup(func() { removeStreams(t, urls, name) })
	return edgewsnats.Options{URLs: urls, Name: name, Streams: 2, Logger: slog.New(slog.DiscardHandler)}
}

func removeStreams(t *testing.T, urls []string, name string) {
	nc, err := nats.Connect(urls[0])
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	for _, stream := range []string{"records", "objects-0", "objects-1"} {
		_ = js.DeleteStream(context.Background(), name+"-"+stream) // not every test creates all
	}
}

func connect(t *testing.T, o edgewsnats.Options) cluster.Engine {
	t.Helper()
	e, err := edgewsnats.Connect(context.Background(), o)
	require.NoError(t, err)
	return e
}
