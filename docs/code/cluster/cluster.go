// Package cluster has the code of docs/cluster.md.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	edgewsnats "github.com/edgews/edgews/cluster/nats"
	"github.com/edgews/edgews/cluster/postgres"
)

// Room counts the messages of its members, and tells the sender how many there were and on which node it runs.
type Room struct {
	st   *edgews.State
	node string
}

func (o *Room) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return // answered already
	}
	if err := o.st.AcceptWebSocket(s); err != nil {
		s.Accept()
		s.Close(edgews.StatusTryAgainLater, "the room is full")
	}
}

func (o *Room) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	var count int
	err := o.st.Storage().Update(ctx, func(tx *edgews.Tx) error { // with ctx: the commit says that this message has been handled
		value, err := tx.Get("count")
		if err != nil && !errors.Is(err, edgews.ErrKeyNotFound) {
			return err
		}
		count, _ = strconv.Atoi(string(value))
		count++
		return tx.Put("count", strconv.AppendInt(nil, int64(count), 10))
	})
	if err != nil {
		return err
	}
	return s.Send(fmt.Sprintf("message %d, on node %s", count, o.node))
}

// Node is a process of the service, as a member of the cluster.
type Node struct {
	cluster *cluster.Cluster
	rooms   *edgews.Namespace
}

// Join makes this process a member. links accepts connections of other members, and is not the listener for clients.
func Join(ctx context.Context, engine cluster.Engine, self cluster.Member, links net.Listener, secret []byte) (*Node, error) {
	c, err := cluster.Join(ctx, cluster.JoinOptions{
		Options:  cluster.Options{Engine: engine, Self: self},
		Listener: links,
		Secret:   secret,
	})
	if err != nil {
		return nil, err
	}
	newRoom := func(_ context.Context, st *edgews.State) (edgews.Object, error) { return &Room{st, self.ID}, nil }
	rooms := edgews.NewNamespace("rooms", newRoom, &edgews.NamespaceOptions{Cluster: c}) // directly after Join, the same ones on each node
	return &Node{c, rooms}, nil
}

// ServeHTTP passes requests on to their rooms, wherever these are: any node can serve any client.
func (n *Node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.rooms.ByName(r.URL.Path).ServeHTTP(w, r)
}

// Stop gives the rooms to the other members, ends the sockets of this node's clients with 1012, and ends what is left.
func (n *Node) Stop(ctx context.Context) error {
	err := n.cluster.Leave(ctx)
	return errors.Join(err, n.rooms.Shutdown(ctx))
}

// StopServer stops a node and what it needs: clients first, the engine last.
func StopServer(ctx context.Context, server *http.Server, n *Node, engine cluster.Engine) error {
	err := server.Shutdown(ctx) // no new clients; sockets stay
	return errors.Join(err, n.Stop(ctx), engine.Close())
}

// JoinWithNATS keeps everything in three NATS servers.
func JoinWithNATS(ctx context.Context, links net.Listener, secret []byte) (*Node, error) {
	engine, err := edgewsnats.Connect(ctx, edgewsnats.Options{
		URLs: []string{"nats://n1:4222", "nats://n2:4222", "nats://n3:4222"},
	})
	if err != nil {
		return nil, err
	}
	return Join(ctx, engine, cluster.Member{ID: "node-1"}, links, secret)
}

// JoinWithPostgres keeps everything in a PostgreSQL database.
func JoinWithPostgres(ctx context.Context, links net.Listener, secret []byte) (*Node, error) {
	engine, err := postgres.Open(ctx, "postgres://edgews@db.example/edgews?target_session_attrs=read-write", nil)
	if err != nil {
		return nil, err
	}
	return Join(ctx, engine, cluster.Member{ID: "node-1"}, links, secret)
}

// JoinAsEdge joins as a node that accepts clients and runs no rooms.
func JoinAsEdge(ctx context.Context, engine cluster.Engine, links net.Listener, secret []byte) (*Node, error) {
	return Join(ctx, engine, cluster.Member{ID: "edge-1", EdgeOnly: true}, links, secret)
}
