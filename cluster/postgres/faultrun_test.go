//go:build unix

package postgres_test

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/internal/faultrun"
	"github.com/edgews/edgews/cluster/postgres"
)

// connectNode connects a process of a fault run. The place is the path of the server's socket, or of a route to it, and a line with the schema.
func connectNode(ctx context.Context, place string) (cluster.Engine, error) {
	path, schema, _ := strings.Cut(place, "\n")
	return postgres.Open(ctx, connTo(filepath.Dir(path)), &postgres.Options{Schema: schema, PollEvery: 200 * time.Millisecond})
}

// faultEngine is the engine of fault runs on a server.
func faultEngine(s *server) faultrun.Engine {
	return faultrun.Engine{
		Connect: connectNode, TTL: 2 * time.Second,
		Servers: func(*testing.T) (servers []net.Addr, place func([]net.Addr) string) {
			schema := newSchema()
			servers = []net.Addr{&net.UnixAddr{Net: "unix", Name: filepath.Join(s.dir, socketName)}}
			return servers, func(through []net.Addr) string { return through[0].String() + "\n" + schema }
		},
	}
}

// Nodes are killed, stopped and cut off.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts processes")
	}
	database(t) // starts the server
	if shared.server == nil {
		t.Skip("the server is not this test's own")
	}
	faultrun.Test(t, faultEngine(shared.server))
}

// The server crashes and comes back, once alone, and once together with a node.
func TestFaultsOfServer(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts processes")
	}
	s := ownServer(t)
	table := new(faultrun.Table)
	r := faultrun.NewRun(t, faultEngine(s), faultrun.Options{})
	a, b, c := r.StartThree(nil)
	r.Begin(b, c)
	r.Fault()
	s.crash()
	require.NoError(t, s.start())
	table.Add("the PostgreSQL server crashes and starts again", r.AwaitPast())

	s.crash()
	r.Kill(a)
	require.NoError(t, s.start())
	table.Add("kill -9 of the home while PostgreSQL has crashed and starts again", r.AwaitPast())
	table.Log(t)
	r.End()
}
