package faultrun

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
)

// Engine is what the clusters of runs have in common.
type Engine struct {
	// Connect connects a process to an engine.
	Connect Connect

	// Servers returns the addresses of the engine's servers, and a function that makes a place out of the addresses under which a node gets
	// to them. It is called once for each run, which gets a cluster of its own.
	Servers func(t *testing.T) (servers []net.Addr, place func(addrs []net.Addr) string)

	TTL time.Duration // of the nodes

	// InProcess says that nodes are started in the process of the test: the engine is in its memory.
	InProcess bool
}

// Run is a cluster of processes under load.
type Run struct {
	t       *testing.T
	engine  Engine
	options Options
	servers []net.Addr
	place   func([]net.Addr) string
	load    *load

	mu     sync.Mutex
	nodes  map[string]*Process
	routes map[[2]string]*Route // from a node to an address
	began  time.Time
}

// Options are the options of a Run.
type Options struct {
	TTL                 time.Duration // 0: the engine's
	WithoutStorageFence bool          // of all nodes
	Sockets             int           // that last for the whole run; 0: 40
}

// logsEnv has a folder for the logs of the nodes, and for what their goroutines do when they do not do what is waited for. "": none.
const logsEnv = "EDGEWS_FAULTRUN_LOGS"

const (
	runShards      = 16
	defaultSockets = 40
)

// rooms are the names of the objects of a run.
var rooms = func() (all []string) {
	for i := range 12 {
		all = append(all, fmt.Sprint("room", i))
	}
	return all
}()

// NewRun returns a run that has no nodes yet. It ends with the test.
func NewRun(t *testing.T, e Engine, o Options) *Run {
	t.Helper()
	if o.TTL == 0 {
		o.TTL = e.TTL
	}
	if o.Sockets == 0 {
		o.Sockets = defaultSockets
	}
	r := &Run{t: t, engine: e, options: o, nodes: make(map[string]*Process), routes: make(map[[2]string]*Route), began: time.Now()}
	r.servers, r.place = e.Servers(t)
	r.load = newLoad(r)
	return r
}

// route returns the route from a node to an address.
func (r *Run) route(from, addr string) *Route {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := [2]string{from, addr}
	if r.routes[key] == nil {
		r.routes[key] = newRoute()
	}
	return r.routes[key]
}

// ToEngine returns the routes from a node to the servers of the engine.
func (r *Run) ToEngine(p *Process) (routes []*Route) {
	for _, s := range r.servers {
		routes = append(routes, r.route(p.ID, s.String()))
	}
	return routes
}

// Between returns the routes between two nodes: those of the connections that each of them makes.
func (r *Run) Between(a, b *Process) (fromA, fromB *Route) {
	return r.route(a.ID, b.addrs.Links), r.route(b.ID, a.addrs.Links)
}

// Start starts a node, and waits until it is a member. change may be nil.
func (r *Run) Start(id string, change func(*nodeConfig)) *Process {
	r.t.Helper()
	c := nodeConfig{
		ID: id, TTL: r.options.TTL, Shards: runShards, WithoutStorageFence: r.options.WithoutStorageFence,
		Relay: r.listen("tcp", func(l net.Listener) { relay(l, func(addr string) *Route { return r.route(id, addr) }) }).String(),
	}
	if dir := os.Getenv(logsEnv); dir != "" {
		c.Log = filepath.Join(dir, filepath.Base(r.t.Name())+"-"+id)
	}
	var addrs []net.Addr
	for _, s := range r.servers {
		addrs = append(addrs, r.listen(s.Network(), func(l net.Listener) { r.route(id, s.String()).forward(l, s.Network(), s.String()) }))
	}
	c.Place = r.place(addrs)
	if change != nil {
		change(&c)
	}
	var p *Process
	if r.engine.InProcess {
		p = startLocal(r.t, c, r.engine.Connect)
	} else {
		p = startProcess(r.t, c)
	}
	r.mu.Lock()
	r.nodes[id] = p
	r.mu.Unlock()
	return p
}

// listen listens until the end of the test. A socket of a file system gets the name that the server's has, which may mean something.
func (r *Run) listen(network string, serve func(net.Listener)) net.Addr {
	addr := "127.0.0.1:0"
	if network == "unix" {
		dir, err := os.MkdirTemp("", "edgews-run-") // not t.TempDir: the path of a socket is limited to about 100 bytes
		require.NoError(r.t, err)
		r.t.Cleanup(func() { os.RemoveAll(dir) })
		addr = filepath.Join(dir, filepath.Base(r.servers[0].String()))
	}
	l, err := net.Listen(network, addr)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { l.Close() })
	go serve(l)
	return l.Addr()
}

// StartThree starts nodes a, b and c, and waits until they have shared the shards.
func (r *Run) StartThree(change func(*nodeConfig)) (a, b, c *Process) {
	r.t.Helper()
	all := make([]*Process, 3)
	var starting sync.WaitGroup
	for i, id := range []string{"a", "b", "c"} {
		starting.Go(func() { all[i] = r.Start(id, change) })
	}
	starting.Wait()
	if r.t.Failed() {
		r.t.FailNow()
	}
	r.AwaitShared(all...)
	return all[0], all[1], all[2]
}

// AwaitShared waits until the nodes own all shards together, each of them one at least, and are ready to run the objects.
func (r *Run) AwaitShared(nodes ...*Process) {
	r.t.Helper()
	r.eventually("the nodes share the shards", func() bool {
		sum := 0
		for _, n := range nodes {
			s, err := n.state("")
			if err != nil || s.Owned == 0 {
				return false
			}
			sum += s.Owned
		}
		if sum != runShards {
			return false
		}
		for _, room := range rooms {
			if _, ok := r.home(room, nodes); !ok {
				return false
			}
		}
		return true
	})
}

// home returns the only node that is the home of a room.
func (r *Run) home(room string, nodes []*Process) (home *Process, ok bool) {
	for _, n := range nodes {
		s, err := n.state(room)
		if err != nil || s.Home && home != nil {
			return nil, false
		}
		if s.Home {
			home = n
		}
	}
	return home, home != nil
}

// RoomOf returns a room whose home is a node.
func (r *Run) RoomOf(p *Process) string {
	r.t.Helper()
	for _, room := range rooms {
		s, err := p.state(room)
		require.NoError(r.t, err)
		if s.Home {
			return room
		}
	}
	r.t.Fatalf("node %s is the home of no room", p.ID)
	return ""
}

// Kill kills a node with SIGKILL. The homes of the objects of its sockets must then tell of their end, unless the node was the home itself.
func (r *Run) Kill(p *Process) {
	r.t.Helper()
	tells := make(map[string]bool)
	for _, room := range rooms {
		for _, n := range r.running() {
			if s, err := n.state(room); err == nil && s.Home && n != p {
				tells[room] = true
			}
		}
	}
	p.mu.Lock()
	p.killed, p.tells = true, tells
	p.mu.Unlock()
	r.Fault()
	p.kill()
}

// running returns the nodes that have not ended.
func (r *Run) running() (all []*Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.nodes {
		if !p.isDead() {
			all = append(all, p)
		}
	}
	return all
}

// eventuallyTimeout bounds the wait for what must happen, however slow the machine is.
const eventuallyTimeout = 90 * time.Second

func (r *Run) eventually(what string, holds func() bool) {
	r.t.Helper()
	if assert.Eventually(r.t, holds, eventuallyTimeout, 10*time.Millisecond, what) {
		return
	}
	if os.Getenv(logsEnv) != "" && !r.engine.InProcess { // the nodes print what their goroutines do
		for _, p := range r.running() {
			_ = quit(p.cmd.Process)
			<-p.ended
		}
	}
	r.t.FailNow()
}

// stored returns the entries that the engine keeps of each room.
func (r *Run) stored() map[string]map[string]string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	e, err := r.engine.Connect(ctx, r.place(r.servers))
	require.NoError(r.t, err)
	defer e.Close()
	_, err = e.Setup(ctx, cluster.Config{Shards: runShards, Generation: 1})
	require.NoError(r.t, err)
	all := make(map[string]map[string]string)
	for _, room := range rooms {
		s, err := e.Open(ctx, edgews.ObjectKey{Namespace: namespace, ID: idFromName(room)}, farFence)
		require.NoError(r.t, err)
		all[room] = make(map[string]string)
		for entry, err := range s.Scan(ctx, edgews.Range{}) {
			require.NoError(r.t, err)
			all[room][entry.Key] = string(entry.Value)
		}
		s.Release()
	}
	return all
}

// idFromName returns the ID of a room.
var idFromName = func() func(string) edgews.ID {
	n := edgews.NewNamespace(namespace, func(context.Context, *edgews.State) (edgews.Object, error) { return nil, errBlind }, nil)
	return n.IDFromName
}()
