package edgews_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/edgews/edgews"
)

// Lamp is an object with a handler of each kind. It hibernates between events, also while its sockets are open.
type Lamp struct{ st *edgews.State }

func NewLamp(_ context.Context, st *edgews.State) (edgews.Object, error) { return &Lamp{st}, nil }

func (l *Lamp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s, err := edgews.Upgrade(w, r, nil); err == nil {
		l.st.AcceptWebSocket(s)
	}
}

func (l *Lamp) WebSocketMessage(_ context.Context, s *edgews.Socket, m edgews.Message) error {
	return s.Send("the lamp is " + m.Text())
}

func (l *Lamp) WebSocketClose(_ context.Context, _ *edgews.Socket, e edgews.CloseEvent) error {
	fmt.Println("closed:", uint16(e.Code), e.Reason)
	return nil
}

func (l *Lamp) WebSocketError(_ context.Context, _ *edgews.Socket, err error) error {
	fmt.Println("lost:", err)
	return nil
}

func (l *Lamp) Alarm(context.Context) error {
	fmt.Println("switched off by the alarm")
	return nil
}

func (l *Lamp) Call(_ context.Context, method string, _ json.RawMessage) (any, error) {
	if method != "switch off later" {
		return nil, errors.New("no such method")
	}
	return nil, l.st.Storage().SetAlarm(context.Background(), time.Now().Add(time.Hour))
}

// An object has the handlers that its type has methods for. Declare that, so that the compiler finds a method with a wrong signature: it would
// not be called.
func ExampleMessageHandler() {
	var (
		_ edgews.MessageHandler = (*Lamp)(nil)
		_ edgews.CloseHandler   = (*Lamp)(nil)
		_ edgews.ErrorHandler   = (*Lamp)(nil)
		_ edgews.AlarmHandler   = (*Lamp)(nil)
		_ edgews.CallHandler    = (*Lamp)(nil)
	)
	ctx := context.Background()
	lamps := edgews.NewNamespace("lamps", NewLamp, nil)
	kitchen := lamps.ByName("kitchen")

	client, _, err := kitchen.Connect(ctx, httptest.NewRequest(http.MethodGet, "/", nil))
	if err != nil {
		fmt.Println(err)
		return
	}
	client.Write(ctx, edgews.Text, []byte("on"))
	answer, _ := client.Receive(ctx)
	fmt.Println(answer.Text())

	edgews.Call[any, any](ctx, kitchen, "switch off later", nil)
	lamps.RunAlarm(ctx, kitchen.ID()) // not later: now

	client.Close(edgews.StatusNormalClosure, "good night")
	<-client.Done()
	lamps.Shutdown(ctx)
	// Output:
	// the lamp is on
	// switched off by the alarm
	// closed: 1000 good night
}
