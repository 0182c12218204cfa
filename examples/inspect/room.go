package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/inspect"
)

// newRooms returns the namespace of the rooms, which inspector watches and meter counts.
func newRooms(inspector *inspect.Inspector, meter *edgews.Meter) *edgews.Namespace {
	construct := func(_ context.Context, st *edgews.State) (edgews.Object, error) { return &room{st: st}, nil }
	return edgews.NewNamespace("rooms", construct, &edgews.NamespaceOptions{
		HibernateAfter: 2 * time.Second,
		Tenant:         tenantOf,
		Options: edgews.Options{
			Observer: inspector, Meter: meter,
			// A member that does not read is slow soon, and loses messages. Its connection ends when a ping is not answered; the default
			// WriteTimeout would end it after 10 s.
			SendBuffer: 64 << 10, Overflow: edgews.OverflowDropOldest, WriteTimeout: time.Minute,
		},
	})
}

// tenantOf shares the rooms out between two customers.
func tenantOf(id edgews.ID) string {
	if id.String()[0] < '8' {
		return "acme"
	}
	return "globex"
}

// neverSleeps is the name of a room that cannot hibernate.
const neverSleeps = "never-sleeps"

// room repeats what a member says to all of them, and stores how much was said.
type room struct{ st *edgews.State }

// stored is what a room knows when it wakes.
type stored struct {
	Said int       `json:"said"`
	Last time.Time `json:"last"`
}

// ServeHTTP accepts a member. The room neverSleeps begins a task that does not end.
func (r *room) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s, err := edgews.Upgrade(w, req, nil)
	if err != nil {
		return // answered already
	}
	if err := r.st.AcceptWebSocket(s, req.URL.Query().Get("user")); err != nil {
		s.Accept()
		s.Close(edgews.StatusTryAgainLater, err.Error())
		return
	}
	if r.st.ID().Name() == neverSleeps {
		r.st.WaitUntil(func(ctx context.Context) { <-ctx.Done() })
	}
}

// WebSocketMessage repeats a message, stores what it was, and sets an alarm.
func (r *room) WebSocketMessage(ctx context.Context, _ *edgews.Socket, msg edgews.Message) error {
	r.st.Broadcast(edgews.Prepare(msg.Kind, msg.Data))
	return r.st.Storage().Update(ctx, func(tx *edgews.Tx) error {
		said, err := tx.Get("said")
		if err != nil && !errors.Is(err, edgews.ErrKeyNotFound) {
			return err
		}
		n, _ := strconv.Atoi(string(said)) // 0 at first
		last, err := json.Marshal(stored{n + 1, time.Now()})
		if err != nil {
			return err
		}
		for key, value := range map[string][]byte{
			"said": []byte(strconv.Itoa(n + 1)), "last": last, "greeting": []byte("hello"), "token": []byte("a secret"),
			"picture": {0x89, 'P', 'N', 'G', 0xff},
		} {
			if err := tx.Put(key, value); err != nil {
				return err
			}
		}
		return tx.SetAlarm(time.Now().Add(20 * time.Second))
	})
}

// Alarm tells the members that nothing was said for a while.
func (r *room) Alarm(context.Context) error {
	r.st.Broadcast(edgews.Prepare(edgews.Text, []byte(`{"text":"it is quiet here"}`)))
	return nil
}
