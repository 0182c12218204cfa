package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/edgews/edgews/client/js"
)

//go:embed index.html
var page []byte

// The states of a node. A node that has been killed or has left can be started again.
const (
	starting = "starting"
	alive    = "alive"
	leaving  = "leaving"
	left     = "left"
	killed   = "killed"
	failed   = "failed" // it has ended by itself
)

// supervisor starts the other processes, and knows what they report. It does not take part in the cluster.
type supervisor struct {
	servers *process
	ready   serversReport
	host    string // where the nodes listen for pages
	secret  []byte

	mu      sync.Mutex
	nodes   []*nodeState
	homes   map[string]home // of the lobby of each app
	events  []event
	stopped bool
	changed chan struct{} // closed at the next change
}

// nodeState is a node as the page sees it.
type nodeState struct {
	ID     string `json:"id"`
	State  string `json:"state"`
	PID    int    `json:"pid"`
	Public string `json:"address"` // where pages connect
	Link   string `json:"link"`    // where other nodes connect
	Shards int    `json:"shards"`

	process *process // the last one
}

// event is something that has happened.
type event struct {
	N    int    `json:"n"`
	At   int64  `json:"at"`            // Unix time in milliseconds
	App  string `json:"app,omitempty"` // empty: it concerns both
	Text string `json:"text"`
}

// maxEvents is how many events the supervisor keeps.
const maxEvents = 100

// state is what the page asks for again and again.
type state struct {
	Nodes  []nodeState     `json:"nodes"`
	Homes  map[string]home `json:"homes"`
	Events []event         `json:"events"`
}

// startSupervisor starts the NATS servers and three nodes, and returns when each owns a part of the objects.
func startSupervisor(ctx context.Context, host string) (*supervisor, error) {
	s := &supervisor{host: host, secret: make([]byte, 32), homes: make(map[string]home), changed: make(chan struct{})}
	rand.Read(s.secret) // it never fails
	if err := s.startServers(ctx); err != nil {
		return nil, err
	}
	for _, id := range []string{"n1", "n2", "n3"} {
		s.nodes = append(s.nodes, &nodeState{ID: id, State: failed})
	}
	if err := s.startNodes(ctx); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// startNodes starts the first node, which creates the streams, and then the others.
func (s *supervisor) startNodes(ctx context.Context) error {
	for i, n := range s.nodes {
		if err := s.start(n.ID); err != nil {
			return err
		}
		if i > 0 {
			continue
		}
		if err := s.await(ctx, func(st state) (bool, error) { return st.Nodes[0].State == alive, failure(st) }); err != nil {
			return err
		}
	}
	return s.await(ctx, func(st state) (bool, error) { return shared(st), failure(st) })
}

// shared reports whether the nodes share all shards.
func shared(st state) bool {
	sum := 0
	for _, n := range st.Nodes {
		if n.Shards == 0 {
			return false
		}
		sum += n.Shards
	}
	return sum == shards
}

// failure returns an error if a node that was started has ended by itself.
func failure(st state) error {
	for _, n := range st.Nodes {
		if n.State == failed && n.process != nil {
			return fmt.Errorf("node %s has failed: see above", n.ID)
		}
	}
	return nil
}

// startServers starts the NATS servers, and waits until they can be used.
func (s *supervisor) startServers(ctx context.Context) error {
	ready := make(chan serversReport, 1)
	p, err := startProcess(serversConfig{}, func(line []byte) {
		var r serversReport
		if json.Unmarshal(line, &r) == nil {
			ready <- r
		}
	}, "nats")
	if err != nil {
		return err
	}
	select {
	case s.ready = <-ready:
		s.servers = p
		return nil
	case <-p.ended:
		return errors.New("the NATS servers have not started: see above")
	case <-ctx.Done():
		p.close()
		return ctx.Err()
	}
}

// stop ends all processes, and waits until they have removed their files.
func (s *supervisor) stop() {
	s.mu.Lock()
	s.stopped = true
	nodes := slices.Clone(s.nodes)
	s.mu.Unlock()
	for _, n := range nodes {
		if n.process != nil {
			n.process.kill() // what they know ends with the servers
			n.process.close()
		}
	}
	s.servers.close()
}

// errState: the node is not in a state in which this can be done to it.
var errState = errors.New("the node is not in the right state")

// start starts a node that does not run.
func (s *supervisor) start(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodeLocked(id)
	if n == nil || s.stopped || n.State != killed && n.State != left && n.State != failed {
		return errState
	}
	config := nodeConfig{
		ID: id, URLs: s.ready.URLs, System: s.ready.System, Secret: s.secret, Host: s.host, Public: n.Public, Link: n.Link,
	}
	var p *process
	began := make(chan struct{}) // closed when p is set
	p, err := startProcess(config, func(line []byte) {
		<-began
		var r nodeReport
		if json.Unmarshal(line, &r) == nil {
			s.heard(n, p, r)
		}
	}, "node", id)
	if err != nil {
		return err
	}
	n.process, n.State, n.PID = p, starting, p.cmd.Process.Pid
	close(began)
	s.noteLocked("", "%s starts as process %d", id, n.PID)
	go s.watch(n, p)
	return nil
}

// heard takes what a node has reported.
func (s *supervisor) heard(n *nodeState, p *process, r nodeReport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.process != p || n.State == killed {
		return
	}
	if n.State == starting {
		n.State = alive
		s.noteLocked("", "%s is in the cluster and serves %s", n.ID, r.Public)
	}
	n.Public, n.Link, n.Shards = r.Public, r.Link, r.Shards
	for app, h := range r.Homes {
		if before := s.homes[app]; h.Epoch > before.Epoch {
			s.homes[app] = h
			if before.Node != "" && before.Node != h.Node { // a node that is given an object claims it once more
				s.noteLocked(app, "the room has moved from %s to %s: epoch %d", before.Node, h.Node, h.Epoch)
			}
		}
	}
	s.tellLocked()
}

// watch waits for the end of a process.
func (s *supervisor) watch(n *nodeState, p *process) {
	<-p.ended
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	switch n.State {
	case leaving:
		n.State = left
		s.noteLocked("", "%s has left", n.ID)
	case killed:
	default:
		n.State = failed
		s.noteLocked("", "%s has ended: %v", n.ID, p.cmd.ProcessState)
	}
	n.PID, n.Shards = 0, 0
	s.tellLocked()
}

// kill kills a node.
func (s *supervisor) kill(id string) error {
	s.mu.Lock()
	n := s.nodeLocked(id)
	if n == nil || n.State != starting && n.State != alive && n.State != leaving {
		s.mu.Unlock()
		return errState
	}
	p := n.process
	p.kill()
	n.State = killed
	s.noteLocked("", "%s is killed: process %d", id, n.PID)
	s.mu.Unlock()
	<-p.ended
	return nil
}

// leave has a node leave the cluster.
func (s *supervisor) leave(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodeLocked(id)
	if n == nil || n.State != alive {
		return errState
	}
	n.State = leaving
	s.noteLocked("", "%s leaves, and gives away its %d shards", id, n.Shards)
	n.process.order("leave")
	return nil
}

func (s *supervisor) nodeLocked(id string) *nodeState {
	for _, n := range s.nodes {
		if n.ID == id {
			return n
		}
	}
	return nil
}

// noteLocked notes an event, which concerns the lobby of an app, or all.
func (s *supervisor) noteLocked(app, format string, args ...any) {
	n := 1
	if len(s.events) > 0 {
		n += s.events[len(s.events)-1].N
	}
	s.events = append(s.events, event{n, time.Now().UnixMilli(), app, fmt.Sprintf(format, args...)})
	s.events = s.events[max(0, len(s.events)-maxEvents):]
	s.tellLocked()
}

// tellLocked wakes those who wait for a change.
func (s *supervisor) tellLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// state returns how things are, with the events behind number after, and a channel that is closed at the next change.
func (s *supervisor) state(after int) (state, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := state{Homes: make(map[string]home), Events: []event{}}
	for _, n := range s.nodes {
		st.Nodes = append(st.Nodes, *n)
	}
	for app, h := range s.homes {
		st.Homes[app] = h
	}
	for _, e := range s.events {
		if e.N > after {
			st.Events = append(st.Events, e)
		}
	}
	return st, s.changed
}

// await waits until done returns true or an error.
func (s *supervisor) await(ctx context.Context, done func(state) (bool, error)) error {
	for {
		st, changed := s.state(0)
		if ok, err := done(st); ok || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// handler serves the page. Pages of other sites cannot kill anything.
func (s *supervisor) handler(app string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("app") == "" {
			http.Redirect(w, r, "/?app="+app, http.StatusFound)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page)
	})
	mux.Handle("GET /edgews.js", js.Handler())
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, r *http.Request) {
		after, _ := strconv.Atoi(r.FormValue("after"))
		st, _ := s.state(after)
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(st)
	})
	for action, do := range map[string]func(string) error{"kill": s.kill, "start": s.start, "leave": s.leave} {
		mux.HandleFunc("POST /nodes/{id}/"+action, func(w http.ResponseWriter, r *http.Request) {
			if err := do(r.PathValue("id")); err != nil {
				http.Error(w, err.Error(), http.StatusConflict)
			}
		})
	}
	return http.NewCrossOriginProtection().Handler(mux)
}
