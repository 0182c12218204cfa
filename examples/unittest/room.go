// Package unittest is an example of tests for WebSocket code: room.go is a chat room that puts idle members out after five minutes, and
// room_test.go tests it without a network and without waiting:
//
//	go test -v ./examples/unittest
//
// The tests show a room over pairs, the whole handler in virtual time, connections that fail, and clients that break the protocol.
package unittest

import (
	"net/http"
	"sync"
	"time"

	"github.com/edgews/edgews"
)

const (
	// idleTimeout is how long a member may say nothing.
	idleTimeout = 5 * time.Minute
	// messagesPerSecond is how many messages a member may send.
	messagesPerSecond = 5
	// maxMessage is the longest message, in bytes.
	maxMessage = 2 << 10
	// maxBehind is how many bytes may wait for a member that reads slowly. Then it is put out.
	maxBehind = 64 << 10
)

// Room is a chat room. Every member gets what any member says. The zero Room is empty and ready to use.
type Room struct {
	mu      sync.Mutex
	members map[*edgews.Socket]string // the names; guarded by mu
}

// ServeHTTP lets a client join: /room?name=Ada.
func (room *Room) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	if name == "" || len(name) > 30 {
		http.Error(w, "a member needs a name of at most 30 bytes", http.StatusBadRequest)
		return
	}
	s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: edgews.Options{
		MaxMessageSize: maxMessage,
		RateLimit:      edgews.RateLimit{Messages: messagesPerSecond},
		SendBuffer:     maxBehind,
		Overflow:       edgews.OverflowClose,
	}})
	if err != nil {
		return // answered already
	}
	room.Join(s, name)
}

// Join makes a socket that has not been accepted a member, until it ends. It returns at once.
func (room *Room) Join(s *edgews.Socket, name string) {
	idle := time.AfterFunc(idleTimeout, func() { s.Close(edgews.StatusPolicyViolation, "nothing said for 5 minutes") })
	s.OnMessage(func(e edgews.MessageEvent) {
		idle.Reset(idleTimeout)
		room.say(name + ": " + e.Text())
	})
	s.OnClose(func(edgews.CloseEvent) {
		idle.Stop()
		room.remove(s)
		room.say(name + " has left")
	})
	room.add(s, name)
	s.Accept()
	room.say(name + " has joined")
}

func (room *Room) add(s *edgews.Socket, name string) {
	room.mu.Lock()
	defer room.mu.Unlock()
	if room.members == nil {
		room.members = make(map[*edgews.Socket]string)
	}
	room.members[s] = name
}

func (room *Room) remove(s *edgews.Socket) {
	room.mu.Lock()
	defer room.mu.Unlock()
	delete(room.members, s)
}

// say sends a line to all members. Send does not wait for slow members, so the mutex is held for a moment only.
func (room *Room) say(line string) {
	message := edgews.Prepare(edgews.Text, []byte(line))
	room.mu.Lock()
	defer room.mu.Unlock()
	for s := range room.members {
		s.SendPrepared(message)
	}
}
