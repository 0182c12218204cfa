package cluster_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/memory"
)

// greeter is an object that says on which member it is called.
type greeter struct{ member string }

func (greeter) ServeHTTP(http.ResponseWriter, *http.Request) {}

func (g greeter) Call(_ context.Context, _ string, _ json.RawMessage) (any, error) {
	return "hello from " + g.member, nil
}

func ExampleJoin() {
	ctx := context.Background()
	engine := memory.New() // stands for NATS or PostgreSQL
	defer engine.Close()

	listener, err := net.Listen("tcp", "127.0.0.1:0") // for links of other members; beyond loopback there must be a Secret, or TLS
	if err != nil {
		log.Fatal(err)
	}
	c, err := cluster.Join(ctx, cluster.JoinOptions{
		Options:  cluster.Options{Engine: engine.Connect(), Self: cluster.Member{ID: "a"}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))},
		Listener: listener,
	})
	if err != nil {
		log.Fatal(err)
	}
	newGreeter := func(context.Context, *edgews.State) (edgews.Object, error) { return greeter{c.Self().ID}, nil }
	greeters := edgews.NewNamespace("greeters", newGreeter, &edgews.NamespaceOptions{Cluster: c})

	answer, err := edgews.Call[string, string](ctx, greeters.ByName("lobby"), "greet", "") // wherever the object is
	fmt.Println(answer, err)

	if err := c.Leave(ctx); err != nil { // gives the objects to other members, and ends the sockets of its own clients with 1012
		log.Fatal(err)
	}
	if err := greeters.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: hello from a <nil>
}
