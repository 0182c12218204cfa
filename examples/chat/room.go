package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/edgews/edgews"
)

const (
	kept             = 200         // stored messages of a room
	maxName, maxText = 32, 2000    // in characters
	burst            = 5           // messages that a user may send at once
	interval         = time.Second // per further message
)

// room is the object of a chat room. It hibernates ten seconds after the last message. Then only its sockets are in memory, each with a
// name as attachment, and the messages are in storage.
type room struct {
	st      *edgews.State
	history []said               // the same as in storage
	free    map[string]time.Time // the time from which a user may send a full burst again
}

// said is a message as it is sent and stored.
type said struct {
	Type string `json:"type"` // "said"
	N    int    `json:"n"`    // consecutive number
	ID   string `json:"id"`   // chosen by the page, which repeats a message that was not confirmed
	Name string `json:"name"`
	Text string `json:"text"`
	At   int64  `json:"at"` // milliseconds since 1970
}

func newRoom(ctx context.Context, st *edgews.State) (edgews.Object, error) {
	r := &room{st: st, free: make(map[string]time.Time)}
	for entry, err := range st.Storage().List(ctx, "said/") {
		var m said
		if err == nil {
			err = json.Unmarshal(entry.Value, &m)
		}
		if err != nil {
			return nil, err
		}
		r.history = append(r.history, m)
	}
	// The page uses it to check the connection. It does not wake the room.
	return r, st.SetAutoResponse(edgews.AutoResponse{Request: "ping", Response: "pong"})
}

// ServeHTTP accepts a user: /room/lobby/socket?name=Ann&after=17, where 17 is the last message that the page has.
func (r *room) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	name := strings.Join(strings.Fields(req.FormValue("name")), " ")
	if n := utf8.RuneCountInString(name); n == 0 || n > maxName || !utf8.ValidString(name) {
		http.Error(w, fmt.Sprintf("a name has 1 to %d characters", maxName), http.StatusBadRequest)
		return
	}
	s, err := edgews.Upgrade(w, req, nil)
	if err != nil {
		return // answered already
	}
	others := r.st.WebSockets()
	if err := r.st.AcceptWebSocket(s); err != nil {
		s.Accept()
		s.Close(edgews.StatusTryAgainLater, err.Error())
		return
	}
	s.SetAttachment(name)
	for _, other := range others {
		edgews.SendJSON(other, map[string]any{"type": "joined", "name": name})
	}
	after, _ := strconv.Atoi(req.FormValue("after"))
	missed := slices.DeleteFunc(slices.Clone(r.history), func(m said) bool { return m.N <= after })
	edgews.SendJSON(s, map[string]any{"type": "welcome", "name": name, "here": r.here(), "missed": missed})
}

// here returns the names of the users in the room.
func (r *room) here() (names []string) {
	for _, s := range r.st.WebSockets() {
		var name string
		if s.ReadyState() == edgews.Open && s.Attachment(&name) == nil {
			names = append(names, name)
		}
	}
	return names
}

func (r *room) WebSocketClose(_ context.Context, s *edgews.Socket, _ edgews.CloseEvent) error {
	var name string
	err := s.Attachment(&name)
	r.broadcast(map[string]any{"type": "left", "name": name})
	return err
}

// WebSocketMessage stores a message and sends it to all users. It is sent when it is on disk.
func (r *room) WebSocketMessage(ctx context.Context, s *edgews.Socket, msg edgews.Message) error {
	var m said
	err := json.Unmarshal(msg.Data, &m)
	if n := utf8.RuneCountInString(m.Text); err != nil || m.ID == "" || len(m.ID) > 64 || n == 0 || n > maxText {
		return s.Close(edgews.StatusUnsupportedData, "not what this page sends")
	}
	if i := slices.IndexFunc(r.history, func(old said) bool { return old.ID == m.ID }); i >= 0 {
		return edgews.SendJSON(s, r.history[i]) // a repetition: the message is stored, and the page has not received it
	}
	if err := s.Attachment(&m.Name); err != nil {
		return err
	}
	if wait := r.charge(m.Name); wait > 0 {
		return edgews.SendJSON(s, map[string]any{"type": "slow", "id": m.ID, "wait": wait.Milliseconds()})
	}
	m.Type, m.N, m.At = "said", 1, time.Now().UnixMilli()
	if len(r.history) > 0 {
		m.N += r.history[len(r.history)-1].N
	}
	data, _ := json.Marshal(m)
	if err := r.remember(ctx, m, data); err != nil {
		return err
	}
	r.st.Broadcast(edgews.Prepare(edgews.Text, data))
	return nil
}

// charge returns how long a user has to wait before the next message. It is not stored: a room hibernates only after a time in which all
// waits have ended.
func (r *room) charge(name string) (wait time.Duration) {
	now := time.Now()
	maps.DeleteFunc(r.free, func(_ string, at time.Time) bool { return at.Before(now) })
	free := now
	if at, busy := r.free[name]; busy {
		free = at
	}
	if free = free.Add(interval); free.Sub(now) > burst*interval {
		return free.Sub(now) - burst*interval
	}
	r.free[name] = free
	return 0
}

// remember stores a message in place of the oldest one. If that fails, the room is constructed again from the stored messages.
func (r *room) remember(ctx context.Context, m said, data []byte) error {
	r.history = append(r.history, m)
	r.history = r.history[max(0, len(r.history)-kept):]
	key := func(n int) string { return fmt.Sprintf("said/%015d", n) }
	return r.st.Storage().Update(ctx, func(tx *edgews.Tx) error {
		if err := tx.Delete(key(m.N - kept)); err != nil {
			return err
		}
		return tx.Put(key(m.N), data)
	})
}

func (r *room) broadcast(v any) {
	data, _ := json.Marshal(v)
	r.st.Broadcast(edgews.Prepare(edgews.Text, data))
}
