package faultrun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/edgews/edgews"
)

// reply is the answer to an entry.
type reply struct {
	Entry  string
	Number int
	Last   string   // the entry in the attachment, before this one
	Tags   []string // of the socket
}

// logObject numbers and stores entries. It keeps the number of the last one in memory, as programs do.
type logObject struct {
	st    *edgews.State
	holds *holds
	last  int
}

const (
	lastKey     = "last"    // the number of the last entry
	numberPart  = "number " // and a number: the entry
	entryPart   = "entry "  // and an entry: how often it was stored
	closedPart  = "closed " // and a connection: the codes of its close events
	tagOfAll    = "all"
	connectionQ = "connection" // in the query of an upgrade: the name of the connection
)

func newLog(ctx context.Context, st *edgews.State, h *holds) (edgews.Object, error) {
	h.at(Activation, st.ID())
	o := &logObject{st: st, holds: h}
	v, err := st.Storage().Get(ctx, lastKey)
	if err != nil && !errors.Is(err, edgews.ErrKeyNotFound) {
		return nil, err
	}
	_, _ = fmt.Sscan(string(v), &o.last)
	return o, nil
}

// ServeHTTP accepts a socket whose tags are its name and "all". Other requests get the close events.
func (o *logObject) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if edgews.IsUpgrade(r) {
		if s, err := edgews.Upgrade(w, r, nil); err == nil {
			name := r.URL.Query().Get(connectionQ)
			_ = s.SetAttachment(attached{Connection: name})
			_ = o.st.AcceptWebSocket(s, name, tagOfAll)
		}
		return
	}
	closed := make(map[string]string)
	for e, err := range o.st.Storage().Scan(r.Context(), edgews.Range{Prefix: closedPart}) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		closed[strings.TrimPrefix(e.Key, closedPart)] = string(e.Value)
	}
	_ = json.NewEncoder(w).Encode(closed)
}

// attached is the attachment of a socket.
type attached struct {
	Connection string
	Last       string // its last entry
}

func (o *logObject) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	o.holds.at(HandlerBegins, o.st.ID())
	var a attached
	if err := s.Attachment(&a); err != nil {
		return err
	}
	tags, err := o.st.Tags(s)
	if err != nil {
		return err
	}
	entry := m.Text()
	if err := o.enter(ctx, entry); err != nil {
		return err
	}
	answer, err := json.Marshal(reply{entry, o.last, a.Last, tags})
	if err != nil {
		return err
	}
	a.Last = entry
	if err := s.SetAttachment(a); err != nil {
		return err
	}
	err = s.Send(string(answer))
	o.holds.at(ReplySent, o.st.ID())
	return err
}

// enter stores an entry under the next number.
func (o *logObject) enter(ctx context.Context, entry string) error {
	number := o.last + 1
	err := o.st.Storage().Update(ctx, func(tx *edgews.Tx) error {
		times, err := tx.Get(entryPart + entry)
		if err != nil && !errors.Is(err, edgews.ErrKeyNotFound) {
			return err
		}
		return errors.Join(
			tx.Put(entryPart+entry, append(times, '+')),
			tx.Put(fmt.Sprint(numberPart, number), []byte(entry)),
			tx.Put(lastKey, fmt.Append(nil, number)),
		)
	})
	if err == nil {
		o.last = number
	}
	return err
}

func (o *logObject) WebSocketClose(ctx context.Context, s *edgews.Socket, e edgews.CloseEvent) error {
	var a attached
	if err := s.Attachment(&a); err != nil {
		return err
	}
	err := o.st.Storage().Update(ctx, func(tx *edgews.Tx) error {
		codes, err := tx.Get(closedPart + a.Connection)
		if err != nil && !errors.Is(err, edgews.ErrKeyNotFound) {
			return err
		}
		return tx.Put(closedPart+a.Connection, fmt.Appendf(codes, "%d ", e.Code))
	})
	o.holds.at(CloseStored, o.st.ID())
	return err
}
