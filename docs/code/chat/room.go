package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/edgews/edgews"
)

// room is a chat room: the class ChatRoom.
type room struct {
	st       *edgews.State
	limiters *edgews.Namespace
	last     int64 // the timestamp of the newest message, in milliseconds
}

// session is what a room knows of a socket. It is the socket's attachment, so hibernation does not lose it.
type session struct {
	IP   string
	Name string // empty until the client has said it
}

// event is what clients get.
type event struct {
	Joined    string `json:"joined,omitempty"`
	Quit      string `json:"quit,omitempty"`
	Ready     bool   `json:"ready,omitempty"`
	Error     string `json:"error,omitempty"`
	Name      string `json:"name,omitempty"`
	Message   string `json:"message,omitempty"`
	Timestamp int64  `json:"timestamp,omitempty"`
}

// named is the tag of sockets whose client has said its name. The others get nothing yet.
const named = "named"

func (o *room) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return // answered already
	}
	if err := o.st.AcceptWebSocket(s); err != nil {
		s.Accept()
		s.Close(edgews.StatusTryAgainLater, "the room is full")
		return
	}
	ip, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		ip = r.RemoteAddr
	}
	s.SetAttachment(session{IP: ip})
}

func (o *room) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	var who session
	if err := s.Attachment(&who); err != nil {
		return err
	}
	allowed, err := edgews.Call[struct{}, bool](ctx, o.limiters.ByName(who.IP), "act", struct{}{})
	if err != nil {
		return err
	}
	if !allowed {
		return edgews.SendJSON(s, event{Error: "Your IP is being rate-limited, please try again later."})
	}
	var said struct{ Name, Message string }
	if err := json.Unmarshal(m.Data, &said); err != nil {
		return edgews.SendJSON(s, event{Error: "That is not JSON."})
	}
	if who.Name == "" {
		return o.join(ctx, s, who, said.Name)
	}
	return o.say(ctx, s, who, said.Message)
}

// join handles the first message of a client, which has its name.
func (o *room) join(ctx context.Context, s *edgews.Socket, who session, name string) error {
	if name == "" {
		name = "anonymous"
	}
	if utf8.RuneCountInString(name) > 32 {
		edgews.SendJSON(s, event{Error: "Name too long."})
		return s.Close(edgews.StatusMessageTooBig, "Name too long.")
	}
	who.Name = name
	if err := s.SetAttachment(who); err != nil {
		return err
	}
	for _, other := range o.st.WebSockets(named) {
		var there session
		if err := other.Attachment(&there); err == nil {
			edgews.SendJSON(s, event{Joined: there.Name})
		}
	}
	if err := o.sendHistory(ctx, s); err != nil {
		return err
	}
	if err := o.st.SetTags(s, named); err != nil {
		return err
	}
	o.st.BroadcastJSON(event{Joined: name}, named)
	return edgews.SendJSON(s, event{Ready: true})
}

// sendHistory sends the newest 100 messages, the oldest of them first.
func (o *room) sendHistory(ctx context.Context, s *edgews.Socket) error {
	var newest [][]byte
	for e, err := range o.st.Storage().Scan(ctx, edgews.Range{Reverse: true, Limit: 100}) {
		if err != nil {
			return err
		}
		newest = append(newest, e.Value)
	}
	for _, message := range slices.Backward(newest) {
		if err := s.Send(string(message)); err != nil {
			return err
		}
	}
	return nil
}

// say stores a message and sends it to everyone.
func (o *room) say(ctx context.Context, s *edgews.Socket, who session, text string) error {
	if utf8.RuneCountInString(text) > 256 {
		return edgews.SendJSON(s, event{Error: "Message too long."})
	}
	o.last = max(time.Now().UnixMilli(), o.last+1)
	message, err := json.Marshal(event{Name: who.Name, Message: text, Timestamp: o.last})
	if err != nil {
		return err
	}
	key := time.UnixMilli(o.last).UTC().Format("2006-01-02T15:04:05.000Z")
	if err := o.st.Storage().Put(ctx, key, message); err != nil {
		return err
	}
	o.st.Broadcast(edgews.Prepare(edgews.Text, message), named)
	return nil
}

func (o *room) WebSocketClose(_ context.Context, s *edgews.Socket, _ edgews.CloseEvent) error {
	var who session
	if err := s.Attachment(&who); err != nil || who.Name == "" {
		return err
	}
	if err := o.st.SetTags(s); err != nil { // it is still listed here
		return err
	}
	_, err := o.st.BroadcastJSON(event{Quit: who.Name}, named)
	return err
}
