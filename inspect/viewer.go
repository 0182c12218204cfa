package inspect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/edgews/edgews"
)

// Bounds of pages.
const (
	maxPages       = 16       // open at a time
	maxRequest     = 64 << 10 // bytes of a request
	pageSendBuffer = 4 << 20  // bytes that may wait for a page; a reply has less than 1 MiB
	maxWatches     = 16       // of one page
	maxWatchName   = 64       // bytes
	minEvery       = 250 * time.Millisecond
	maxEvery       = time.Hour
)

// viewer is an open page, or a program that makes calls.
type viewer struct {
	// Immutable.
	inspector *Inspector
	socket    *edgews.Socket
	changed   chan struct{} // has one if watches have changed

	mu sync.Mutex // a leaf

	// Guarded by mu.
	watches map[string]*watch
}

// watch is a call that is repeated. Its fields after every belong to the goroutine of the viewer's watches.
type watch struct {
	name, call string
	params     json.RawMessage
	every      time.Duration
	next       time.Time
	after      json.Number // of the last update of CallHistory and CallLog; empty: none
}

// viewerKey is the key of the viewer in a context.
type viewerKey struct{}

// viewerOf returns the viewer that makes a call, or nil.
func viewerOf(ctx context.Context) *viewer {
	v, _ := ctx.Value(viewerKey{}).(*viewer)
	return v
}

// serveSocket answers calls until the socket ends.
func (i *Inspector) serveSocket(w http.ResponseWriter, r *http.Request) {
	s, err := i.hub.Upgrade(w, r, nil)
	if err != nil { // it has been answered
		return
	}
	if err := s.Accept(); err != nil {
		return
	}
	i.wake()
	v := &viewer{inspector: i, socket: s, changed: make(chan struct{}, 1), watches: make(map[string]*watch)}
	ctx, cancel := context.WithCancel(context.WithValue(s.Context(), viewerKey{}, v))
	var watching sync.WaitGroup
	watching.Go(func() { v.runWatches(ctx) })
	defer watching.Wait()
	defer cancel()
	v.serve(ctx)
}

// serve answers requests one after the other.
func (v *viewer) serve(ctx context.Context) {
	for msg, err := range v.socket.Messages(ctx) {
		switch {
		case err != nil:
			return
		case msg.Kind == edgews.Text && msg.Text() == "ping": // the heartbeat of client/js
			err = v.socket.Send("pong")
		default:
			err = v.inspector.mux.Dispatch(ctx, v.socket, msg)
		}
		if err != nil && !v.answerFault(err) {
			return
		}
	}
}

// answerFault closes the socket after an error, unless the peer has been told of it as the reply to a call.
func (v *viewer) answerFault(err error) (goOn bool) {
	switch {
	case errors.Is(err, edgews.ErrBadMessage), errors.Is(err, edgews.ErrUnknownType):
		_ = v.socket.Close(edgews.StatusPolicyViolation, "edgews: inspect: the message is no call")
		return false
	case errors.Is(err, edgews.ErrBufferFull):
		_ = v.socket.Close(edgews.StatusTryAgainLater, "edgews: inspect: replies are not read")
		return false
	}
	v.inspector.logger().Warn("edgews: inspect: a call has failed", "error", err)
	return true
}

func watchCall(ctx context.Context, req WatchRequest) (Done, error) {
	v := viewerOf(ctx)
	if v == nil {
		return Done{}, badRequest("a watch cannot be watched")
	}
	w := &watch{name: req.Watch, call: req.Call, params: req.Params, every: time.Duration(req.Every * float64(time.Millisecond))}
	switch {
	case len(w.name) > maxWatchName:
		return Done{}, badRequest("the name of a watch has %d bytes, the limit is %d", len(w.name), maxWatchName)
	case !isWatchable(w.call):
		return Done{}, badRequest("the call %q cannot be watched", w.call)
	case req.Every == 0:
		w.every = time.Second
	}
	w.every = min(max(w.every, minEvery), maxEvery)
	if len(w.params) == 0 || string(w.params) == "null" {
		w.params = json.RawMessage("{}")
	}
	if !v.setWatch(w) {
		return Done{}, badRequest("there are %d watches already", maxWatches)
	}
	return Done{}, nil
}

func isWatchable(call string) bool {
	switch call {
	case CallHello, CallOverview, CallHistory, CallSockets, CallSocket, CallObjects, CallObject, CallStorage, CallValue, CallAlarms, CallBill, CallLog, CallCluster:
		return true
	}
	return false
}

func unwatchCall(ctx context.Context, req UnwatchRequest) (Done, error) {
	if v := viewerOf(ctx); v != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.watches, req.Watch)
	}
	return Done{}, nil
}

// setWatch adds w in place of one of the same name. It returns false if there are too many.
func (v *viewer) setWatch(w *watch) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.watches[w.name] == nil && len(v.watches) >= maxWatches {
		return false
	}
	v.watches[w.name] = w
	select {
	case v.changed <- struct{}{}:
	default:
	}
	return true
}

// due returns a watch whose time has come, or how long to wait for the next one.
func (v *viewer) due(now time.Time) (*watch, time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	wait := maxEvery
	for _, w := range v.watches {
		if left := w.next.Sub(now); left <= 0 {
			return w, 0
		} else {
			wait = min(wait, left)
		}
	}
	return nil, wait
}

// runWatches sends updates until ctx ends. A page that does not read them gets fewer.
func (v *viewer) runWatches(ctx context.Context) {
	for ctx.Err() == nil {
		w, wait := v.due(time.Now())
		if w != nil {
			w.next = time.Now().Add(w.every)
			v.update(ctx, w)
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-v.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// update makes the call of w and sends its result.
func (v *viewer) update(ctx context.Context, w *watch) {
	u := Update{Type: TypeUpdate, Watch: w.name}
	result, err := v.call(ctx, w)
	if err == nil {
		u.Result, err = json.Marshal(result)
	}
	if err != nil {
		u.Error = toldError(err)
	} else if !w.isNews(result) {
		return
	}
	data, err := json.Marshal(u)
	if err != nil {
		v.inspector.logger().Error("edgews: inspect: an update cannot be encoded", "error", err)
		return
	}
	_ = v.socket.Write(ctx, edgews.Text, data) // the error is that the socket or ctx has ended
}

// call makes the call of w.
func (v *viewer) call(ctx context.Context, w *watch) (result any, err error) {
	defer func() {
		if p := recover(); p != nil { // of a Store, for example
			v.inspector.logger().Error("edgews: inspect: a call has panicked", "call", w.call, "panic", fmt.Sprint(p))
			err = &edgews.CallError{Code: edgews.CodeInternal, Message: "internal error"}
		}
	}()
	params := w.params
	if w.after != "" {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(params, &fields); err == nil && fields != nil {
			fields["after"] = json.RawMessage(w.after)
			params, _ = json.Marshal(fields) // it was decoded from JSON
		}
	}
	return v.inspector.mux.Call(context.WithValue(ctx, viewerKey{}, (*viewer)(nil)), w.call, params)
}

// isNews reports whether a result says anything new, and moves after on.
func (w *watch) isNews(result any) bool {
	first := w.after == ""
	switch r := result.(type) {
	case History:
		if len(r.Times) == 0 {
			return first && w.moveOn(0)
		}
		return w.moveOn(uint64(r.Times[len(r.Times)-1]))
	case LogList:
		if len(r.Entries) == 0 {
			return first && w.moveOn(r.Last)
		}
		return w.moveOn(r.Last)
	}
	return true
}

func (w *watch) moveOn(after uint64) bool {
	w.after = json.Number(fmt.Sprint(after))
	return true
}

// toldError returns what the peer is told of the error of a watched call.
func toldError(err error) *edgews.CallError {
	if told, ok := errors.AsType[*edgews.CallError](err); ok && told != nil {
		return told
	}
	if errors.Is(err, edgews.ErrBadMessage) {
		return &edgews.CallError{Code: edgews.CodeBadRequest, Message: err.Error()}
	}
	return &edgews.CallError{Code: edgews.CodeInternal, Message: "internal error"}
}
