// The code of docs/storage.md.
package storage_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/store/bolt"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Counter counts requests.
type Counter struct{ st *edgews.State }

func (o *Counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, err := o.add(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintln(w, n)
}

// add is one commit: it stores the new count and the time, or nothing.
func (o *Counter) add(ctx context.Context) (n int, err error) {
	err = o.st.Storage().Update(ctx, func(tx *edgews.Tx) error {
		value, err := tx.Get("count")
		if err != nil && !errors.Is(err, edgews.ErrKeyNotFound) {
			return err
		}
		n, _ = strconv.Atoi(string(value))
		n++
		if err := tx.Put("count", strconv.AppendInt(nil, int64(n), 10)); err != nil {
			return err
		}
		return tx.Put("last", time.Now().AppendFormat(nil, time.RFC3339))
	})
	return n, err
}

func ask(h http.Handler) string {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	return w.Body.String()
}

// open returns the counters in a file, and what closes them.
func open(file string) (counters *edgews.Namespace, shutdown func(context.Context) error, err error) {
	store, err := bolt.Open(file, nil)
	if err != nil {
		return nil, nil, err
	}
	counters = edgews.NewNamespace("counters", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return &Counter{st}, nil
	}, &edgews.NamespaceOptions{Store: store})
	return counters, func(ctx context.Context) error {
		if err := counters.Shutdown(ctx); err != nil {
			return err
		}
		return store.Close()
	}, nil
}

func TestCounter(t *testing.T) {
	file := filepath.Join(t.TempDir(), "objects.db")
	for _, want := range []string{"1\n", "2\n"} {
		counters, shutdown, err := open(file)
		require.NoError(t, err)
		assert.Equal(t, want, ask(counters.ByName("visitors")))
		require.NoError(t, shutdown(t.Context()))
	}
}

// page returns ten entries before a key, the newest first; "" begins at the end.
func page(ctx context.Context, st *edgews.State, before string) iter.Seq2[edgews.Entry, error] {
	return st.Storage().Scan(ctx, edgews.Range{Prefix: "said/", End: before, Reverse: true, Limit: 10})
}

func TestPage(t *testing.T) {
	st := newState(t)
	for i := range 25 {
		require.NoError(t, st.Storage().Put(t.Context(), fmt.Sprintf("said/%08d", i), nil))
	}
	before, got := "", []string(nil)
	for range 3 {
		for e, err := range page(t.Context(), st, before) {
			require.NoError(t, err)
			before = e.Key
			got = append(got, e.Key)
		}
	}
	assert.Len(t, got, 25)
	assert.Equal(t, "said/00000024", got[0])
	assert.Equal(t, "said/00000000", got[24])
}

// newState returns the state of a new object.
func newState(t *testing.T) (st *edgews.State) {
	n := edgews.NewNamespace("objects", func(_ context.Context, s *edgews.State) (edgews.Object, error) {
		st = s
		return http.NotFoundHandler(), nil
	}, nil)
	t.Cleanup(func() { n.Shutdown(context.Background()) })
	ask(n.Get(n.NewUniqueID()))
	return st
}

// Reminder sends a mail at a given time.
type Reminder struct {
	st   *edgews.State
	mail func(ctx context.Context, retry int) error
}

func (o *Reminder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := o.st.Storage().SetAlarm(r.Context(), time.Now().Add(24*time.Hour))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (o *Reminder) Alarm(ctx context.Context) error {
	return o.mail(ctx, edgews.AlarmRetry(ctx)) // after an error it is called again, 2 s later
}

func TestAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls []time.Duration
		began := time.Now()
		mail := func(_ context.Context, retry int) error {
			calls = append(calls, time.Since(began))
			if retry < 2 {
				return errors.New("the mail server is busy")
			}
			return nil
		}
		reminders := edgews.NewNamespace("reminders", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
			return &Reminder{st, mail}, nil
		}, &edgews.NamespaceOptions{Options: edgews.Options{Logger: slog.New(slog.DiscardHandler)}})
		ask(reminders.ByName("ann"))
		<-time.After(25 * time.Hour)
		day := 24 * time.Hour
		assert.Equal(t, []time.Duration{day, day + 2*time.Second, day + 6*time.Second}, calls)
		require.NoError(t, reminders.Shutdown(context.Background()))
	})
}

// Salon is a room that remembers.
type Salon struct {
	st   *edgews.State
	feed *edgews.Feed
}

func NewSalon(ctx context.Context, st *edgews.State) (edgews.Object, error) {
	feed, err := edgews.NewFeed(ctx, st, &edgews.FeedOptions{Keep: 200})
	return &Salon{st, feed}, err
}

// ServeHTTP lets a client join: ?who=ann&cursor=17, where 17 is the seq of the last frame that the client has.
func (o *Salon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	cursor, _ := strconv.ParseUint(r.FormValue("cursor"), 10, 64)
	err = o.st.AcceptWebSocket(s)
	if err == nil {
		err = o.feed.Join(r.Context(), s, r.FormValue("who"), cursor)
	}
	if err != nil {
		s.Accept() // if the object has not accepted it
		s.Close(edgews.StatusTryAgainLater, "")
	}
}

func (o *Salon) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	_, err := o.feed.Publish(ctx, "", m.Text())
	return err
}

func Example_feed() {
	ctx := context.Background()
	salons := edgews.NewNamespace("salons", NewSalon, nil)
	defer salons.Shutdown(ctx)
	connect := func(cursor int) *edgews.Socket {
		r := httptest.NewRequest(http.MethodGet, fmt.Sprint("/?who=ann&cursor=", cursor), nil)
		s, _, err := salons.ByName("lobby").Connect(ctx, r)
		if err != nil {
			panic(err)
		}
		return s
	}
	ann := connect(0)
	ann.Write(ctx, edgews.Text, []byte("one"))
	ann.Write(ctx, edgews.Text, []byte("two"))
	for range 3 {
		ann.Receive(ctx)
	}
	again := connect(1) // it has got the first message
	for range 2 {
		f, _ := edgews.ReceiveJSON[edgews.FeedFrame](ctx, again)
		fmt.Printf("%s %d %q\n", f.Type, *f.Seq, f.Data)
	}
	for _, s := range []*edgews.Socket{ann, again} {
		s.Close(edgews.StatusGoingAway, "")
		for range s.Messages(ctx) {
		}
	}
	// Output:
	// feed.cursor 1 ""
	// feed.message 2 "\"two\""
}

// failing is a store whose commits wait, and fail.
type failing struct {
	edgews.Store
	committing chan struct{}
}

type failingObject struct {
	edgews.ObjectStore
	committing chan struct{}
}

func (f failing) Open(ctx context.Context, o edgews.ObjectKey, fence edgews.Fence) (edgews.ObjectStore, error) {
	store, err := f.Store.Open(ctx, o, fence)
	return failingObject{store, f.committing}, err
}

func (f failingObject) Commit(context.Context, edgews.Batch) error {
	f.committing <- struct{}{}
	<-f.committing
	return errors.New("the disk is broken")
}

// TestOutputGate checks what the guide says of a commit that fails: what was sent during it does not leave, and the object is reset.
func TestOutputGate(t *testing.T) {
	committing := make(chan struct{})
	var st *edgews.State
	n := edgews.NewNamespace("objects", func(_ context.Context, s *edgews.State) (edgews.Object, error) {
		st = s
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s, err := edgews.Upgrade(w, r, nil); err == nil {
				st.AcceptWebSocket(s)
			}
		}), nil
	}, &edgews.NamespaceOptions{
		Store:   failing{edgews.NewMemoryStore(), committing},
		Options: edgews.Options{Logger: slog.New(slog.DiscardHandler)},
	})
	client, _, err := n.ByName("a").Connect(t.Context(), nil)
	require.NoError(t, err)
	failed := make(chan error)
	go func() { failed <- st.Storage().Put(t.Context(), "key", nil) }()
	<-committing
	assert.Equal(t, 1, st.Broadcast(edgews.Prepare(edgews.Text, []byte("it is stored"))))
	committing <- struct{}{}
	require.Error(t, <-failed)
	_, err = client.Receive(t.Context())
	var closed *edgews.CloseError
	require.ErrorAs(t, err, &closed)
	assert.Equal(t, edgews.StatusInternalError, closed.Code)
	require.NoError(t, n.Shutdown(context.Background()))
}
