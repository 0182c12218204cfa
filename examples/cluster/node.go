package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	edgewsnats "github.com/edgews/edgews/cluster/nats"
	"github.com/edgews/edgews/examples/chat/chatrooms"
)

const (
	// ttl is how long a node that hangs keeps its objects. The default, 15 s, is longer than an election of NATS's leaders, 4 to 10 s, which comes
	// when one of the servers dies. Here they only die all together, so the demonstration may be quicker. After a kill nobody waits for the
	// TTL: the dead process's port refuses connections, so the others know.
	ttl = 5 * time.Second

	// shards is less than the default, 1024, which is for some 20 nodes: with three, fewer change hands at a kill.
	shards = 192

	// leaveLimit is how long a node takes at most to give its objects away.
	leaveLimit = 15 * time.Second
)

// nodeConfig is what a node is told when it starts.
type nodeConfig struct {
	ID           string
	URLs         []string // of the NATS servers
	System       string   // of their system account
	Secret       []byte   // which only the nodes know
	Host         string   // where pages connect
	Public, Link string   // the addresses that it had last, so that it is found again; empty: any
}

// nodeReport is what a node tells the supervisor whenever something has changed.
type nodeReport struct {
	Public string          // where pages connect
	Link   string          // where other nodes connect
	Shards int             // how many it owns
	Homes  map[string]home // of the lobby of each app, as far as it knows
}

// node is a node of the cluster.
type node struct {
	id      string
	public  net.Listener // where pages connect
	cluster *cluster.Cluster
	lobbies map[string]edgews.ObjectKey // by app
}

// beNode runs a node until in orders it to leave. It ends at once when in ends.
func beNode(in *bufio.Reader) error {
	var c nodeConfig
	if err := readConfig(in, &c); err != nil {
		return err
	}
	leave := make(chan struct{})
	go func() {
		if _, err := in.ReadString('\n'); err != nil {
			os.Exit(1) // the supervisor has ended: nobody is there whom this node could serve
		}
		close(leave)
		in.ReadString('\n')
		os.Exit(1)
	}()
	return runNode(c, leave)
}

// runNode joins the cluster, and leaves it when leave is closed.
func runNode(c nodeConfig, leave <-chan struct{}) error {
	ctx := context.Background()
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	system, err := nats.Connect(c.System)
	if err != nil {
		return err
	}
	engine, err := edgewsnats.Connect(ctx, edgewsnats.Options{URLs: c.URLs, System: system, Streams: 1, Logger: logger})
	system.Close()
	if err != nil {
		return err
	}
	defer engine.Close()
	public, err := listen(c.Public, net.JoinHostPort(c.Host, "0"))
	if err != nil {
		return err
	}
	links, err := listen(c.Link, "127.0.0.1:0")
	if err != nil {
		return err
	}
	joined, err := cluster.Join(ctx, cluster.JoinOptions{
		Options: cluster.Options{
			Engine: engine, Self: cluster.Member{ID: c.ID}, Config: cluster.Config{Shards: shards}, TTL: ttl, Logger: logger,
		},
		Listener: links, Secret: c.Secret,
	})
	if err != nil {
		return err
	}
	n := &node{id: c.ID, public: public, cluster: joined}
	return n.run(links.Addr().String(), leave)
}

// listen listens on the address that the node had before, if it is free.
func listen(before, otherwise string) (net.Listener, error) {
	if l, err := net.Listen("tcp", cmp.Or(before, otherwise)); err == nil {
		return l, nil
	}
	return net.Listen("tcp", otherwise)
}

// run serves until leave is closed, and leaves.
func (n *node) run(link string, leave <-chan struct{}) error {
	rooms := newRooms(n.cluster, n.where)
	users := chatrooms.NewUsers(edgews.NamespaceOptions{Cluster: n.cluster})
	chats := chatrooms.NewRooms(users, edgews.NamespaceOptions{Cluster: n.cluster})
	n.lobbies = map[string]edgews.ObjectKey{
		"room": {Namespace: rooms.Name(), ID: rooms.IDFromName("lobby")},
		"chat": {Namespace: chats.Name(), ID: chats.IDFromName("lobby")},
	}
	server := &http.Server{Handler: n.handler(rooms, chats), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := server.Serve(n.public); !errors.Is(err, http.ErrServerClosed) {
			log.Print(err)
		}
	}()
	ended := make(chan struct{})
	defer close(ended)
	go n.tell(link, ended)
	<-leave
	ctx, cancel := context.WithTimeout(context.Background(), leaveLimit)
	defer cancel()
	server.Close() // it does not close the sockets. The cluster does, when other nodes have the objects
	return errors.Join(n.cluster.Leave(ctx), rooms.Shutdown(ctx), chats.Shutdown(ctx), users.Shutdown(ctx))
}

// handler serves the sockets of the room, and the chat with its page.
func (n *node) handler(rooms, chats *edgews.Namespace) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", chatrooms.Handler(chats))
	mux.HandleFunc("GET /socket", func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set(edgeHeader, n.id)
		rooms.ByName("lobby").ServeHTTP(w, r)
	})
	return mux
}

// where says where an object of the lobbies runs. Its constructor asks, so this node is its home.
func (n *node) where(id edgews.ID) home {
	epoch, _ := n.cluster.Owns(cluster.ShardOf(edgews.ObjectKey{Namespace: lobbies, ID: id}, shards))
	return n.home(n.id, epoch)
}

// home counts epochs from 1 on. Those of the cluster begin with its generation, so they are large.
func (n *node) home(id string, epoch uint64) home {
	return home{id, epoch - n.cluster.Config().FirstEpoch() + 1}
}

// tell reports to the supervisor whenever something has changed, until ended is closed.
func (n *node) tell(link string, ended <-chan struct{}) {
	for {
		changed := n.cluster.Changed()
		now := nodeReport{Public: n.public.Addr().String(), Link: link, Homes: make(map[string]home)}
		for s := range cluster.Shard(shards) {
			if _, owns := n.cluster.Owns(s); owns {
				now.Shards++
			}
		}
		for app, key := range n.lobbies {
			if owner, member, alive := n.cluster.Owner(cluster.ShardOf(key, shards)); alive {
				now.Homes[app] = n.home(member.ID, owner.Epoch)
			}
		}
		if report(now) != nil {
			return
		}
		select {
		case <-changed:
		case <-ended:
			return
		}
	}
}
