package edgewsnats_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/internal/faultrun"
	edgewsnats "github.com/edgews/edgews/cluster/nats"
)

// connectNode connects a process of a fault run. The place is the name of a cluster, a space, and the addresses of the servers with commas in
// between.
func connectNode(ctx context.Context, place string) (cluster.Engine, error) {
	name, addrs, _ := strings.Cut(place, " ")
	var urls []string
	for addr := range strings.SplitSeq(addrs, ",") {
		urls = append(urls, "nats://"+addr)
	}
	logger := slog.New(slog.DiscardHandler)
	if os.Getenv("EDGEWS_FAULTRUN_LOGS") != "" { // stderr is a file among the logs then
		logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return edgewsnats.Connect(ctx, edgewsnats.Options{
		URLs: urls, Name: name, Streams: 2, Logger: logger,
		NATS: []nats.Option{nats.IgnoreDiscoveredServers(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})},
	})
}

// faultEngine is the engine of fault runs on three servers.
func faultEngine(servers func(t *testing.T) []string) faultrun.Engine {
	return faultrun.Engine{
		Connect: connectNode, TTL: 2 * time.Second,
		Servers: func(t *testing.T) (addrs []net.Addr, place func([]net.Addr) string) {
			all := servers(t)
			name := options(t, all).Name
			for _, s := range all {
				u, err := url.Parse(s)
				require.NoError(t, err)
				addr, err := net.ResolveTCPAddr("tcp", u.Host)
				require.NoError(t, err)
				addrs = append(addrs, addr)
			}
			return addrs, func(through []net.Addr) string {
				var texts []string
				for _, a := range through {
					texts = append(texts, a.String())
				}
				return fmt.Sprint(name, " ", strings.Join(texts, ","))
			}
		},
	}
}

// Nodes are killed, stopped and cut off.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts processes")
	}
	faultrun.Test(t, faultEngine(sharedURLs))
}

// Servers are killed and stopped, one of three at a time, and once together with a node. The lease of the nodes is longer than an election.
func TestFaultsOfServers(t *testing.T) {
	if testing.Short() || !faultrun.CanStop {
		t.Skip("elections take seconds, and servers are stopped")
	}
	servers, err := startServers(t.TempDir(), 3, "")
	t.Cleanup(func() {
		for _, s := range servers {
			s.kill()
		}
	})
	require.NoError(t, err)
	e := faultEngine(func(*testing.T) []string { return urls(servers) })
	e.TTL = 15 * time.Second
	table := new(faultrun.Table)
	r := faultrun.NewRun(t, e, faultrun.Options{})
	a, b, c := r.StartThree(nil)
	r.Begin(b, c)
	r.Fault()
	servers[0].kill()
	table.Add("one NATS server is killed", r.AwaitPast())
	require.NoError(t, servers[0].start())
	awaitCurrent(t, servers)

	servers[2].kill()
	r.Kill(a)
	table.Add("kill -9 of the home and of one NATS server", r.AwaitPast())
	require.NoError(t, servers[2].start())
	awaitCurrent(t, servers)

	r.Fault()
	require.NoError(t, faultrun.Stop(servers[1].cmd.Process))
	table.Add("one NATS server is stopped", r.AwaitPast())
	require.NoError(t, faultrun.Continue(servers[1].cmd.Process))
	awaitCurrent(t, servers)
	table.Log(t)
	r.End()
}

// awaitCurrent waits until every copy of every stream has everything: until then a server that has come back does not stand in for another one.
func awaitCurrent(t *testing.T, servers []*natsServer) {
	t.Helper()
	require.NoError(t, awaitJetStream(servers, len(servers)))
	nc, err := nats.Connect(servers[0].url)
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		list := js.ListStreams(t.Context())
		for s := range list.Info() {
			if s.Cluster == nil || s.Cluster.Leader == "" || len(s.Cluster.Replicas) != len(servers)-1 {
				return false
			}
			for _, copy := range s.Cluster.Replicas {
				if copy.Offline || !copy.Current {
					return false
				}
			}
		}
		return list.Err() == nil
	}, time.Minute, 100*time.Millisecond)
}
