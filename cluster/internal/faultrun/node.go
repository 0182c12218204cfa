package faultrun

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
)

// nodeEnv has the configuration of the node that a process of the test's binary is to be.
const nodeEnv = "EDGEWS_TEST_FAULTRUN_NODE"

// nodeConfig says what a node is to be.
type nodeConfig struct {
	ID                  string
	Place               string // of the engine, for Connect
	TTL                 time.Duration
	Shards              int
	Relay               string // the address of the relay through which it dials other nodes
	WithoutSelfFencing  bool
	WithoutStorageFence bool
	Log                 string // a file; "": none
}

// nodeAddrs is what a node prints when it is a member.
type nodeAddrs struct {
	Web   string // serves /{room}, and what controls it
	Links string // of the cluster
}

// Connect connects to the engine at a place. What a place is, only the test of the engine knows.
type Connect func(ctx context.Context, place string) (cluster.Engine, error)

// Main is for TestMain: it returns false unless this process was started as a node. Otherwise it runs the node until its parent ends.
func Main(connect Connect) (wasNode bool) {
	text := os.Getenv(nodeEnv)
	if text == "" {
		return false
	}
	var c nodeConfig
	err := json.Unmarshal([]byte(text), &c)
	if err == nil {
		err = beNode(c, connect)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
	return true
}

func beNode(c nodeConfig, connect Connect) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	engine, err := connect(ctx, c.Place)
	if err != nil {
		return err
	}
	n, err := startNode(ctx, c, engine)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(n.addrs); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // the parent holds the other end of the pipe
	return nil
}

// startTimeout is how long a node may take to become a member.
const startTimeout = time.Minute

// node is a member of the cluster, with its objects and its server.
type node struct {
	config  nodeConfig
	cluster *cluster.Cluster
	engine  *nodeEngine
	holds   *holds
	rooms   *edgews.Namespace
	server  *http.Server
	addrs   nodeAddrs
}

func startNode(ctx context.Context, c nodeConfig, engine cluster.Engine) (*node, error) {
	n := &node{config: c, holds: new(holds)}
	n.engine = &nodeEngine{Engine: engine, holds: n.holds, self: c.ID, ignoresFences: c.WithoutStorageFence}
	links, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	logger, err := nodeLogger(c.Log)
	if err != nil {
		return nil, err
	}
	n.cluster, err = cluster.Join(ctx, cluster.JoinOptions{
		Options: cluster.Options{
			Engine: n.engine, Self: cluster.Member{ID: c.ID}, Config: cluster.Config{Shards: c.Shards}, TTL: c.TTL, Logger: logger,
			UnsafeWithoutSelfFencing: c.WithoutSelfFencing,
		},
		Listener: links, Dial: relayed(c.Relay),
	})
	if err != nil {
		return nil, err
	}
	construct := func(ctx context.Context, st *edgews.State) (edgews.Object, error) { return newLog(ctx, st, n.holds) }
	n.rooms = edgews.NewNamespace(namespace, construct, &edgews.NamespaceOptions{Cluster: n.cluster, Options: edgews.Options{Logger: logger}})
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n.addrs = nodeAddrs{Web: web.Addr().String(), Links: links.Addr().String()}
	n.server = &http.Server{Handler: n.handler()}
	go n.server.Serve(web)
	return n, nil
}

const namespace = "logs"

func nodeLogger(path string) (*slog.Logger, error) {
	if path == "" {
		return slog.New(slog.DiscardHandler), nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return slog.New(slog.NewTextHandler(f, nil)), nil
}

// relayed returns a dialer that asks a relay for each connection: its first line is the address, and the answer is one byte.
func relayed(relay string) func(context.Context, string) (net.Conn, error) {
	if relay == "" {
		return nil
	}
	return func(ctx context.Context, addr string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", relay)
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		answer := []byte{relayFailed}
		_, err = fmt.Fprintln(conn, addr)
		if err == nil {
			_, err = io.ReadFull(conn, answer)
		}
		switch {
		case err == nil && answer[0] == relayConnected:
			return conn, nil
		case answer[0] == relayRefused:
			err = &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
		}
		conn.Close()
		return nil, cmp.Or(err, errRelayFailed)
	}
}

var errRelayFailed = errors.New("the relay has not connected")

// The answers of a relay.
const (
	relayConnected = 'c'
	relayRefused   = 'r'
	relayFailed    = 'f'
)

// readAddr reads the first line of a connection to a relay, and nothing behind it.
func readAddr(r io.Reader) (string, error) {
	line, err := bufio.NewReaderSize(oneByte{r}, 16).ReadString('\n')
	if err != nil {
		return "", err
	}
	return line[:len(line)-1], nil
}

// oneByte reads one byte at a time, so that nothing is read ahead.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(len(p), 1)]) }
