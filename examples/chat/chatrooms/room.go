package chatrooms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/edgews/edgews"
)

// MaxName and MaxText bound the names of users and what they say, in characters.
const MaxName, MaxText = 32, 2000

// Room is the object of a chat room. Its feed keeps the last 1000 messages in storage, numbers them, and knows who is there. The room
// hibernates ten seconds after the last message. Then only its sockets are in memory, each with a name as attachment.
type Room struct {
	Feed  *edgews.Feed
	st    *edgews.State
	users *edgews.Namespace
}

// Said is a message in the feed.
type Said struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// draft is a message of a page. The page has chosen its ID, and repeats it under that ID until it is confirmed, also after a reload.
type draft struct{ ID, Text string }

// answer is what the page is told about a draft.
type answer struct {
	Type string `json:"type"` // "stored" or "slow"
	ID   string `json:"id"`
	Seq  uint64 `json:"seq,omitempty"`  // its number in the feed, if it is stored
	Wait int64  `json:"wait,omitempty"` // milliseconds to wait before it is sent again, if that was too early
}

func newRoom(ctx context.Context, st *edgews.State, users *edgews.Namespace) (edgews.Object, error) {
	feed, err := edgews.NewFeed(ctx, st, nil)
	if err != nil {
		return nil, err
	}
	// The page uses it to check the connection. It does not wake the room.
	return &Room{feed, st, users}, st.SetAutoResponse(edgews.AutoResponse{Request: "ping", Response: "pong"})
}

// ServeHTTP accepts a user: /room/lobby/socket?name=Ann&cursor=17, where 17 is the number of the last message that the page has. The feed
// sends those that follow.
func (r *Room) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	name := strings.Join(strings.Fields(req.FormValue("name")), " ")
	if n := utf8.RuneCountInString(name); n == 0 || n > MaxName || !utf8.ValidString(name) {
		http.Error(w, fmt.Sprintf("a name has 1 to %d characters", MaxName), http.StatusBadRequest)
		return
	}
	cursor, _ := strconv.ParseUint(req.FormValue("cursor"), 10, 64) // 0 if the page has none: it gets all that is kept
	s, err := edgews.Upgrade(w, req, nil)
	if err != nil {
		return // answered already
	}
	if err = errors.Join(r.st.AcceptWebSocket(s), s.SetAttachment(name), r.Feed.Join(req.Context(), s, name, cursor)); err != nil {
		log.Print("chat: ", tryAgain(s, err))
	}
}

// tryAgain closes a socket that cannot be served. The page connects again, and repeats what was not confirmed.
func tryAgain(s *edgews.Socket, err error) error {
	s.Accept() // if the room has not accepted it
	s.Close(edgews.StatusTryAgainLater, "the room is out of order")
	return err
}

// WebSocketMessage publishes a message. The feed sends it to all users when it is on disk, and knows it when it is repeated.
func (r *Room) WebSocketMessage(ctx context.Context, s *edgews.Socket, msg edgews.Message) error {
	var d draft
	err := json.Unmarshal(msg.Data, &d)
	if n := utf8.RuneCountInString(d.Text); err != nil || d.ID == "" || len(d.ID) > 64 || n == 0 || n > MaxText {
		return s.Close(edgews.StatusUnsupportedData, "not what this page sends")
	}
	a, err := r.publish(ctx, s, d)
	if err != nil {
		return tryAgain(s, err)
	}
	edgews.SendJSON(s, a) // the page repeats a message whose answer is lost
	return nil
}

// publish publishes a draft, unless its user is too fast.
func (r *Room) publish(ctx context.Context, s *edgews.Socket, d draft) (answer, error) {
	var name string
	if err := s.Attachment(&name); err != nil {
		return answer{}, err
	}
	wait, err := edgews.Call[any, time.Duration](ctx, r.users.Get(r.users.IDFromName(name)), "send", nil)
	if err != nil || wait > 0 {
		return answer{Type: "slow", ID: d.ID, Wait: max(1, wait.Milliseconds())}, err
	}
	seq, err := r.Feed.Publish(ctx, d.ID, Said{name, d.Text})
	return answer{Type: "stored", ID: d.ID, Seq: seq}, err
}

// WebSocketClose has the others know at once that a user has left on purpose. Whoever only lost the connection has five seconds to return.
func (r *Room) WebSocketClose(_ context.Context, s *edgews.Socket, e edgews.CloseEvent) error {
	if e.Code == edgews.StatusNormalClosure {
		return r.Feed.Leave(s)
	}
	return nil
}
