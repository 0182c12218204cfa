package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/edgews/edgews"
)

// kept is how many messages a room keeps. maxName and maxText are in characters, maxID in bytes.
const kept, maxName, maxText, maxID = 200, 32, 500, 64

// edgeHeader is the field in which the node that has accepted a request puts its name.
const edgeHeader = "Edge"

// home is where an object runs. On a single node, that is always the same.
type home struct {
	Node  string `json:"node"`
	Epoch uint64 `json:"epoch"`
}

// room is the object of a room. Everything that must outlive its process is in the storage, or with the sockets, in their attachments. Ten
// seconds after the last message or tick it hibernates, and only its sockets are left, on their edges.
type room struct {
	st   *edgews.State
	home home
}

// visitor is the attachment of a socket.
type visitor struct{ Name, Edge string }

// request is what a page sends.
type request struct {
	Do    string `json:"do"`    // "tick", "say" or "read"
	Tick  int    `json:"tick"`  // number of a tick
	ID    string `json:"id"`    // of what is said: the page repeats it under that ID until it is stored
	Text  string `json:"text"`  // what is said
	After int    `json:"after"` // number of the last message that the page has: it wants those that follow
}

// answer is what a page gets. All have the state of the room in them.
type answer struct {
	Type  string `json:"type"` // "welcome", "tick", "stored", "message" or "read"
	Home  home   `json:"home"`
	Count int    `json:"count"` // ticks and messages stored so far
	Last  int    `json:"last"`  // number of the last message

	Edge    string   `json:"edge,omitempty"`    // of a welcome
	Tick    int      `json:"tick,omitempty"`    // of a tick: this one and all before are stored
	ID      string   `json:"id,omitempty"`      // of what is stored now
	Message *message `json:"message,omitempty"` // one that was said
}

// message is a message in the storage.
type message struct {
	N    int    `json:"n"` // from 1 on
	ID   string `json:"id"`
	Name string `json:"name"`
	Text string `json:"text"`
	At   int64  `json:"at"` // Unix time in milliseconds
}

// lobbies is the name of the namespace.
const lobbies = "lobbies"

// newRooms returns the namespace of the rooms. Without a cluster, everything runs on this node. where says where an object runs.
func newRooms(cluster edgews.Cluster, where func(edgews.ID) home) *edgews.Namespace {
	construct := func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		// The page uses it to check the connection. The edge answers, and does not wake the room.
		return &room{st, where(st.ID())}, st.SetAutoResponse(edgews.AutoResponse{Request: "ping", Response: "pong"})
	}
	return edgews.NewNamespace(lobbies, construct, &edgews.NamespaceOptions{Cluster: cluster})
}

// upgradeOptions returns the options of a room's sockets. The page comes from the supervisor, which has another port of the same host.
func upgradeOptions(req *http.Request) *edgews.UpgradeOptions {
	host := req.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	opts := &edgews.UpgradeOptions{AllowedOrigins: []string{"http://" + host + ":*"}}
	opts.MaxMessageSize, opts.RateLimit.Messages = 16<<10, 500
	opts.KeepAlive, opts.KeepAliveTimeout = 10*time.Second, 5*time.Second
	return opts
}

// ServeHTTP accepts a page: /socket?name=Ann. It runs on the room's home, also if another node has got the request.
func (r *room) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	v := visitor{strings.Join(strings.Fields(req.FormValue("name")), " "), req.Header.Get(edgeHeader)}
	if n := utf8.RuneCountInString(v.Name); n == 0 || n > maxName || !utf8.ValidString(v.Name) {
		http.Error(w, fmt.Sprintf("a name has 1 to %d characters", maxName), http.StatusBadRequest)
		return
	}
	s, err := edgews.Upgrade(w, req, upgradeOptions(req))
	if err != nil {
		return // answered already
	}
	if err := errors.Join(r.st.AcceptWebSocket(s), s.SetAttachment(v), r.welcome(req.Context(), s, v)); err != nil {
		s.Accept() // if the room has not accepted it
		s.Close(edgews.StatusTryAgainLater, "the room is out of order")
	}
}

// welcome says to a page where it is. The page then asks for the messages that it does not have.
func (r *room) welcome(ctx context.Context, s *edgews.Socket, v visitor) error {
	a := answer{Type: "welcome", Home: r.home, Edge: v.Edge}
	err := r.st.Storage().Update(ctx, func(tx *edgews.Tx) error { return r.count(tx, &a, 0, 0) })
	if err != nil {
		return err
	}
	return edgews.SendJSON(s, a)
}

// WebSocketMessage answers a page. When an error is returned because this node is not the home any more, the next home gets the message.
func (r *room) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	var q request
	if json.Unmarshal(m.Data, &q) != nil {
		return s.Close(edgews.StatusUnsupportedData, "not what this page sends")
	}
	switch q.Do {
	case "tick":
		return r.tick(ctx, s, q)
	case "say":
		return r.say(ctx, s, q)
	case "read":
		return r.read(ctx, s, q)
	}
	return s.Close(edgews.StatusUnsupportedData, "not what this page sends")
}

// tick counts a tick.
func (r *room) tick(ctx context.Context, s *edgews.Socket, q request) error {
	a := answer{Type: "tick", Home: r.home, Tick: q.Tick}
	if err := r.st.Storage().Update(ctx, func(tx *edgews.Tx) error { return r.count(tx, &a, 1, 0) }); err != nil {
		return err
	}
	return edgews.SendJSON(s, a)
}

// say stores what is said, unless it is stored already, and sends it to all.
func (r *room) say(ctx context.Context, s *edgews.Socket, q request) error {
	n := utf8.RuneCountInString(q.Text)
	if n == 0 || n > maxText || q.ID == "" || len(q.ID) > maxID {
		return s.Close(edgews.StatusUnsupportedData, "not what this page sends")
	}
	var v visitor
	if err := s.Attachment(&v); err != nil {
		return err
	}
	said := &message{ID: q.ID, Name: v.Name, Text: q.Text, At: time.Now().UnixMilli()}
	a := answer{Type: "message", Home: r.home, Message: said}
	repeated := false
	err := r.st.Storage().Update(ctx, func(tx *edgews.Tx) error {
		_, err := tx.Get(idKey(q.ID))
		if repeated = err == nil; repeated {
			return r.count(tx, &a, 0, 0)
		}
		if !errors.Is(err, edgews.ErrKeyNotFound) {
			return err
		}
		if err := r.count(tx, &a, 1, 1); err != nil {
			return err
		}
		said.N = a.Last
		return store(tx, said)
	})
	if err != nil {
		return err
	}
	if !repeated {
		if _, err := r.st.BroadcastJSON(a); err != nil {
			return err
		}
	}
	a.Type, a.ID, a.Message = "stored", q.ID, nil
	return edgews.SendJSON(s, a)
}

// read sends the messages behind q.After that are kept. A page that has missed one, for example because the home was killed between storing and
// sending, sees it from answer.Last, and asks.
func (r *room) read(ctx context.Context, s *edgews.Socket, q request) error {
	a := answer{Type: "message", Home: r.home}
	var missed []*message
	err := r.st.Storage().Update(ctx, func(tx *edgews.Tx) error {
		missed = nil
		for e, err := range tx.List(messagePrefix) {
			m := new(message)
			if err != nil {
				return err
			}
			if err := json.Unmarshal(e.Value, m); err != nil {
				return err
			}
			if m.N > q.After {
				missed = append(missed, m)
			}
		}
		return r.count(tx, &a, 0, 0)
	})
	if err != nil {
		return err
	}
	for _, m := range missed {
		a.Message = m
		if err := edgews.SendJSON(s, a); err != nil {
			return err
		}
	}
	a.Type, a.Message = "read", nil
	return edgews.SendJSON(s, a)
}

// The keys of the storage. Those of messages are in the order of their numbers.
const (
	totalsKey     = "totals"
	messagePrefix = "message/"
)

func messageKey(n int) string { return fmt.Sprintf("%s%09d", messagePrefix, n) }
func idKey(id string) string  { return "id/" + id }

// totals is the value of totalsKey.
type totals struct{ Count, Last int }

// count adds to the totals, and puts them into a.
func (r *room) count(tx *edgews.Tx, a *answer, events, messages int) error {
	var t totals
	value, err := tx.Get(totalsKey)
	if err == nil {
		err = json.Unmarshal(value, &t)
	}
	if err != nil && !errors.Is(err, edgews.ErrKeyNotFound) {
		return err
	}
	t.Count, t.Last = t.Count+events, t.Last+messages
	a.Count, a.Last = t.Count, t.Last
	if events == 0 {
		return nil
	}
	return put(tx, totalsKey, t)
}

// store stores a message, and forgets the one that is too old.
func store(tx *edgews.Tx, m *message) error {
	if old, err := tx.Get(messageKey(m.N - kept)); err == nil {
		var gone message
		if err := json.Unmarshal(old, &gone); err != nil {
			return err
		}
		if err := errors.Join(tx.Delete(messageKey(gone.N)), tx.Delete(idKey(gone.ID))); err != nil {
			return err
		}
	}
	return errors.Join(put(tx, messageKey(m.N), m), put(tx, idKey(m.ID), m.N))
}

func put(tx *edgews.Tx, key string, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.Put(key, value)
}
