package edgews

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// This file is the first to read about feeds. A feed has two halves. The history is in the object's storage (feed_history.go), and
// feed_publish.go adds to it. The members, which are the sockets that have joined (feed_join.go), belong to the object, as its sockets do,
// and outlive the value (feed_roster.go). A member is live if it has everything that was published; otherwise feed_replay.go sends it what
// it has not got, as fast as it reads. feed_presence.go says who is there.

// Feed is a numbered sequence of messages with a history in the storage of an object, and the list of those who follow it. An object may
// have several, which differ in FeedOptions.Name. A member of a feed is a socket that the object has accepted with AcceptWebSocket and that
// has joined the feed. Each member gets each message exactly once and in order, or is told that messages are gone. A client that remembers
// the number of the last message it has got, and passes it to Join when it connects again, misses nothing between two connections.
//
// A Feed belongs to the value that has made it, as its State does. Make it in the constructor, so that it is there for whatever wakes the
// object. Hibernation, and the loss of a value, do not affect the members: they stay members, and those that read slowly are served when the
// object wakes. After the end of the process clients connect and join again. When the value has been dropped, Publish, Join and
// Replay return ErrAborted, Here returns nil, and Leave does nothing.
//
// In a cluster (NamespaceOptions.Cluster) the members also stay when the object gets another home, because it moves or because its home has
// died: they get what was published and not sent to them yet, and nothing twice. Nobody has left or joined because of that. Only clients
// whose connection was at the node that has died are gone; the others then get a new list of those who are there.
//
// # Wire format
//
// Frames are text messages with a JSON object; [FeedFrame] has their fields. The field type, on which a [Mux] routes, is one of these:
//
//	{"type":"feed.cursor","seq":17,"here":[{"who":"ann","since":"2026-11-27T15:04:05.123Z","sockets":1}]}
//	{"type":"feed.message","seq":18,"id":"a1","at":"2026-11-27T15:04:09.007Z","data":{"text":"hello"}}
//	{"type":"feed.joined","who":"bob","since":"2026-11-27T15:05:00Z"}
//	{"type":"feed.left","who":"bob"}
//	{"type":"feed.here","here":[…]}
//
// A frame also has "feed" with the feed's Name, unless that is empty. A client's cursor is the seq of the last frame that had one. In
// feed.cursor, "gone":true says that messages behind the client's cursor are not kept any more, or that the feed does not know the cursor:
// the client has to forget what it has, and what follows is all that there is. feed.cursor comes first after Join and Replay, and later
// whenever messages are gone that a slow reader has not got. feed.here replaces the list of those who are there, for a client that did not
// read fast enough to get each change.
//
// With client/js:
//
//	let cursor;
//	const socket = new ReconnectingWebSocket("/room/lobby/socket", {cursor: () => cursor});
//	socket.onmessage = e => {
//		const f = JSON.parse(e.data);
//		if (f.gone) clear();
//		if (f.type === "feed.message") show(f.data);
//		if (f.seq !== undefined) cursor = f.seq;
//	};
//
// # Storage
//
// The keys of a feed begin with "feed/NAME/", with the feed's name for NAME. Do not write there. Storage.DeleteAll empties the history, and
// the numbers go on where they were, as long as the object is in memory. Publish reads two values and writes two, and removes two when
// the history is full.
//
// All methods may be called from any goroutine, but not from Compression.Choose.
type Feed struct {
	st     *State
	roster *feedRoster
	opts   FeedOptions
	prefix string // of its keys
}

// FeedOptions configures a feed. A nil pointer means the zero value.
type FeedOptions struct {
	// Name tells the feeds of an object apart: at most 64 bytes of UTF-8 without "/". It may be empty.
	Name string

	// Keep is how many messages are kept. The default is 1000. Negative means none: members get what is published while they keep up, and a
	// client that has missed something is told that it is gone.
	Keep int

	// MaxAge is how long a message is kept. The default, 0, means as long as Keep has it. Older messages are not sent any more; they are
	// removed from the storage by the next Publish.
	MaxAge time.Duration

	// LeaveAfter is how long someone whose last socket has ended is still there: one who joins again within that time has neither left nor
	// joined for the others. The default is 5 s; negative means that leaving is announced at once; at most a minute. When an object of a cluster
	// gets another home meanwhile, that one is gone at once.
	LeaveAfter time.Duration

	// HidePresence has the members not be told who is there: no lists, and no feed.joined and feed.left. Here knows. It is for feeds with
	// thousands of names, in which telling everyone of everyone costs more than the messages.
	HidePresence bool
}

const (
	defaultFeedKeep   = 1000
	defaultLeaveAfter = 5 * time.Second
	maxLeaveAfter     = time.Minute // the object may be forgotten 70 s after its last socket

	maxFeedName = 64 // in bytes
	maxFeedWho  = 256
	maxFeedID   = 256
)

var (
	// ErrFeedName: a feed does not take a name, the id of a message, or the name of one who joins. The message says why.
	ErrFeedName = errors.New("edgews: name that a feed does not take")

	// ErrFeedExists: the value has made a feed of that name.
	ErrFeedExists = errors.New("edgews: feed exists")

	// ErrFeedDamaged: what is stored of a feed is not what a feed has written. The message has the key.
	ErrFeedDamaged = errors.New("edgews: stored entry of a feed is damaged")

	// ErrNotJoined: the socket is no member of the feed.
	ErrNotJoined = errors.New("edgews: socket has not joined the feed")
)

// NewFeed returns the feed of an object that has the name of the options. Call it in the constructor, once for each name in each value: a
// second call is ErrFeedExists. It reads one entry of the storage, however long the history is. opts may be nil.
//
// Sockets that had joined before the object hibernated are members still.
func NewFeed(ctx context.Context, st *State, opts *FeedOptions) (*Feed, error) {
	f := &Feed{st: st}
	if st == nil {
		return nil, errors.New("edgews: NewFeed with a nil *State")
	}
	if opts != nil {
		f.opts = *opts
	}
	if err := f.opts.resolve(); err != nil {
		return nil, err
	}
	f.prefix = feedPrefix(f.opts.Name)
	tail, err := f.readTail(ctx)
	if err != nil {
		return nil, err
	}
	if f.roster, err = st.registerFeed(f); err != nil {
		return nil, err
	}
	f.roster.resume(tail.seq, &f.opts)
	return f, nil
}

// feedPrefix is what the keys of a feed of that name begin with.
func feedPrefix(name string) string { return "feed/" + name + "/" }

// resolve checks the options and sets the defaults.
func (o *FeedOptions) resolve() error {
	if err := checkFeedName("FeedOptions.Name", o.Name, maxFeedName); err != nil {
		return err
	}
	switch {
	case strings.Contains(o.Name, "/"):
		return fmt.Errorf("%w: FeedOptions.Name %q contains a slash, which separates the parts of its keys", ErrFeedName, o.Name)
	case o.MaxAge < 0:
		return fmt.Errorf("edgews: FeedOptions.MaxAge is %v: it must not be negative; 0 means no limit", o.MaxAge)
	case o.LeaveAfter > maxLeaveAfter:
		return fmt.Errorf("edgews: FeedOptions.LeaveAfter is %v; the limit is %v", o.LeaveAfter, maxLeaveAfter)
	}
	setDefault(&o.Keep, defaultFeedKeep)
	setDefault(&o.LeaveAfter, defaultLeaveAfter)
	o.Keep = max(o.Keep, 0)
	o.LeaveAfter = max(o.LeaveAfter, 0)
	return nil
}

// checkFeedName returns an error unless name, which the error calls what, is UTF-8 of at most limit bytes.
func checkFeedName(what, name string, limit int) error {
	switch {
	case len(name) > limit:
		return fmt.Errorf("%w: %s has %d bytes; the limit is %d", ErrFeedName, what, len(name), limit)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: %s is not UTF-8", ErrFeedName, what)
	}
	return nil
}

// registerFeed makes f a feed of the value, and returns the members that the object has for a feed of that name.
func (st *State) registerFeed(f *Feed) (*feedRoster, error) {
	o, name := st.o, f.opts.Name
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case st.isDroppedLocked():
		return nil, ErrAborted
	case st.feeds[name] != nil:
		return nil, fmt.Errorf("%w: this value has called NewFeed with the name %q before; keep the Feed in the value", ErrFeedExists, name)
	}
	if st.feeds == nil {
		st.feeds = make(map[string]*Feed)
	}
	if o.feeds == nil {
		o.feeds = make(map[string]*feedRoster)
	}
	r := o.feeds[name]
	if r == nil {
		r = newFeedRoster(o, name)
		o.feeds[name] = r
	}
	st.feeds[name] = f
	return r, nil
}

// feedOfValue returns the feed of that name that the present value has made, or nil.
func (o *object) feedOfValue(name string) *Feed {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state == nil {
		return nil
	}
	return o.state.feeds[name]
}

// Last returns the number of the last message that was sent to the members: what a new client passes to Join that wants no history.
func (f *Feed) Last() uint64 { return f.roster.lastSent() }

// FeedFrame is what a feed sends, as JSON in a text message: see [Feed] for the types and their fields. It is for clients in Go.
type FeedFrame struct {
	Type  string          `json:"type"`           // "feed.cursor", "feed.message", "feed.joined", "feed.left" or "feed.here"
	Feed  string          `json:"feed,omitempty"` // FeedOptions.Name
	Seq   *uint64         `json:"seq,omitempty"`  // the client's cursor from now on; nil: it stays
	Gone  bool            `json:"gone,omitempty"` // of feed.cursor: messages before Seq are gone that the client has not got
	ID    string          `json:"id,omitempty"`   // of feed.message: as it was given to Publish
	At    time.Time       `json:"at,omitzero"`    // of feed.message: when it was published
	Data  json.RawMessage `json:"data,omitempty"` // of feed.message: what was given to Publish
	Who   string          `json:"who,omitempty"`  // of feed.joined and feed.left
	Since time.Time       `json:"since,omitzero"` // of feed.joined
	Here  []Presence      `json:"here,omitzero"`  // of feed.here, and of feed.cursor when it is the first frame; otherwise nil
}

const (
	frameCursor  = "feed.cursor"
	frameMessage = "feed.message"
	frameJoined  = "feed.joined"
	frameLeft    = "feed.left"
	frameHere    = "feed.here"
)

// encode returns the frame as JSON.
func (f *FeedFrame) encode() []byte {
	data, err := json.Marshal(f)
	if err != nil {
		panic("edgews: frame of a feed cannot be encoded: " + err.Error()) // it has no field that could fail
	}
	return data
}
