package edgews_test

import (
	"context"
	"fmt"

	"github.com/edgews/edgews"
)

// traffic is an Observer that prints the messages of sockets and how they end.
type traffic struct{ edgews.NopObserver }

func (traffic) ObserveMessage(m edgews.MessageObservation) {
	fmt.Println(m.Direction, m.Kind, m.Bytes, "bytes")
}

func (traffic) ObserveSocket(e edgews.SocketObservation) {
	if e.Event == edgews.SocketClosed {
		fmt.Println("closed:", uint16(e.Code), e.Cause)
	}
}

func ExampleObserver() {
	greeter := func(_ context.Context, st *edgews.State) (edgews.Object, error) { return &room{st: st}, nil }
	n := edgews.NewNamespace("greeters", greeter, &edgews.NamespaceOptions{Options: edgews.Options{Observer: traffic{}}})
	defer n.Shutdown(context.Background())

	client, server := edgews.NewPair()
	ctx := context.Background()
	_ = n.Get(n.IDFromName("lobby")).Do(ctx, func(_ context.Context, o edgews.Object) error {
		return o.(*room).st.AcceptWebSocket(server)
	})
	_ = server.Send("welcome")
	_, _ = client.Receive(ctx)
	_ = client.Close(1000, "")
	<-server.Done()
	// Output:
	// out text 7 bytes
	// closed: 1000 peer
}
