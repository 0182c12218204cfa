package edgews_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/edgews/edgews"
)

// Board counts moves in a field, and stores the count only when it is about to leave the memory.
type Board struct {
	st    *edgews.State
	moves int
}

func NewBoard(ctx context.Context, st *edgews.State) (edgews.Object, error) {
	b := &Board{st: st}
	stored, err := st.Storage().Get(ctx, "moves")
	if errors.Is(err, edgews.ErrKeyNotFound) {
		return b, nil
	}
	fmt.Sscan(string(stored), &b.moves)
	return b, err
}

func (b *Board) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	b.moves++
	fmt.Fprintf(w, "move %d on %s", b.moves, b.st.ID().Name())
}

func (b *Board) Suspend(ctx context.Context, why edgews.SuspendReason) error {
	fmt.Printf("%s stores %d moves before %v\n", b.st.ID().Name(), b.moves, why)
	return b.st.Storage().Put(ctx, "moves", fmt.Append(nil, b.moves))
}

// What the fields of an object hold is stored before the object hibernates, and before the program ends.
func ExampleSuspender() {
	ctx := context.Background()
	boards := edgews.NewNamespace("boards", NewBoard, nil)
	chess := boards.ByName("chess")
	fmt.Println(ask(chess))
	fmt.Println(ask(chess))
	boards.Hibernate(ctx, chess.ID())
	fmt.Println(ask(chess))
	boards.Shutdown(ctx)
	// Output:
	// move 1 on chess
	// move 2 on chess
	// chess stores 2 moves before hibernation
	// move 3 on chess
	// chess stores 3 moves before shutdown
}

// An object knows the name that it was made from, also when an alarm wakes it in the next process.
func ExampleID_Name() {
	ctx := context.Background()
	store := edgews.NewMemoryStore() // a file, in a program that ends
	rang := make(chan string, 1)
	start := func() *edgews.Namespace {
		return edgews.NewNamespace("clocks", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
			return &Clock{st, func(context.Context) error { rang <- st.ID().Name(); return nil }}, nil
		}, &edgews.NamespaceOptions{Store: store})
	}
	clocks := start()
	fmt.Println(ask(clocks.ByName("kitchen")))
	clocks.Shutdown(ctx)

	clocks = start()
	fmt.Println(<-rang, "rings")
	clocks.Shutdown(ctx)
	// Output:
	// the alarm is set
	// kitchen rings
}

// Clock has an alarm, which a request sets.
type Clock struct {
	st   *edgews.State
	ring func(context.Context) error
}

func (c *Clock) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := c.st.Storage().SetAlarm(r.Context(), time.Now().Add(20*time.Millisecond)); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	io.WriteString(w, "the alarm is set")
}

func (c *Clock) Alarm(ctx context.Context) error { return c.ring(ctx) }

// An alarm whose handler fails is retried. The handler may treat the last try in another way.
func ExampleAlarmRetry() {
	tried := make(chan int, 8)
	clocks := edgews.NewNamespace("clocks", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return &Clock{st, func(ctx context.Context) error {
			tried <- edgews.AlarmRetry(ctx)
			if edgews.AlarmRetry(ctx) < 1 {
				return errors.New("the mail server does not answer")
			}
			return nil
		}}, nil
	}, &edgews.NamespaceOptions{Options: edgews.Options{Logger: slog.New(slog.DiscardHandler)}})
	defer clocks.Shutdown(context.Background())
	ask(clocks.ByName("kitchen"))
	fmt.Println(<-tried)
	fmt.Println(<-tried) // 2 s later
	// Output:
	// 0
	// 1
}

// The context of an event ends when the event takes too long, and its cause says which limit that was.
func ExampleState_SetEventTimeout() {
	quiet := slog.New(slog.DiscardHandler)
	rooms := edgews.NewNamespace("rooms", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		err := st.SetEventTimeout(10 * time.Millisecond)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done() // asks a service that does not answer
			fmt.Fprint(w, context.Cause(r.Context()))
		}), err
	}, &edgews.NamespaceOptions{Options: edgews.Options{Logger: quiet}})
	defer rooms.Shutdown(context.Background())
	fmt.Println(ask(rooms.ByName("lobby")))
	// Output: edgews: event timeout: ServeHTTP has run for longer than 10ms, the limit of State.SetEventTimeout
}

// A socket with listeners keeps its object awake, and on the bill, but not for ever.
func ExampleNamespaceOptions_pinTimeout() {
	held, peer := edgews.NewPair()
	closed := make(chan edgews.CloseEvent)
	peer.OnClose(func(e edgews.CloseEvent) { closed <- e })
	peer.Accept()
	rooms := edgews.NewNamespace("rooms", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			st.Hold(held)
			held.OnMessage(func(edgews.MessageEvent) {})
			held.Accept()
		}), nil
	}, &edgews.NamespaceOptions{
		PinTimeout: 500 * time.Millisecond, // Durable Objects have 15 minutes
		Options:    edgews.Options{Logger: slog.New(slog.DiscardHandler)},
	})
	defer rooms.Shutdown(context.Background())
	ask(rooms.ByName("lobby"))
	for o := range rooms.Objects() {
		fmt.Println(o.State, o.Pins)
	}
	e := <-closed
	fmt.Printf("%v: %s\n", e.Code, e.Reason)
	// Output:
	// active [held socket]
	// 1001 going away: object was evicted
}
