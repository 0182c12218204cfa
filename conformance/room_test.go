package conformance_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/edgews/edgews"
)

// room is the object of the scenarios. Options of its sockets, texts and plain requests tell it which operations to execute.
type room struct {
	p      *objectPlayer
	st     *edgews.State
	memory any
	built  bool // the constructor has returned
}

func (p *objectPlayer) construct(ctx context.Context, st *edgews.State) (edgews.Object, error) {
	if strings.HasPrefix(p.s.ID, "d-handler-missing-") {
		return &bareRoom{p, st}, nil
	}
	p.instances++
	p.latest = st
	r := &room{p: p, st: st}
	sockets := st.WebSockets()
	r.note("constructor %d with %d sockets", p.instances, len(sockets))
	var err error
	if len(sockets) > 0 {
		err = r.run(ctx, sockets[0], p.scriptOf(sockets[0]).On["ctor"])
	}
	r.built = true
	return r, err
}

// bareRoom has no handlers.
type bareRoom struct {
	p  *objectPlayer
	st *edgews.State
}

func (r *bareRoom) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if !edgews.IsUpgrade(req) {
		r.p.rec.add("object", "getWebSockets().length → %d", len(r.st.WebSockets()))
		io.WriteString(w, "ok")
		return
	}
	client, server := edgews.NewPair()
	if r.st.AcceptWebSocket(server) == nil {
		r.p.rec.add("object", "acceptWebSocket in a class without webSocket* handlers")
	}
	_ = edgews.Respond(w, req, client, r.p.options())
}

func (r *room) note(format string, args ...any) { r.p.rec.add("object", format, args...) }

// recordResult records the error of a method of State, or its result.
func (r *room) recordResult(what string, result any) {
	if err, _ := result.(error); result == nil || err != nil {
		result = outcome(err)
	} else {
		result = show(result)
	}
	r.note("%s → %s", what, result)
}

func (p *objectPlayer) scriptOf(s *edgews.Socket) serverScript {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.scripts[s]
}

func (p *objectPlayer) nameOf(s *edgews.Socket) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.names[s]
}

func (p *objectPlayer) actor(s *edgews.Socket) *actor {
	name := p.nameOf(s)
	return &actor{name: streamOf(name), label: labelOf(name), s: s, rec: p.rec, halfOpen: p.s.halfOpen(), end: name, ends: p.ends}
}

// ServeHTTP is fetch().
func (r *room) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if edgews.IsUpgrade(req) {
		r.connect(w, req)
		return
	}
	r.note("fetch")
	var target *edgews.Socket
	if all := r.st.WebSockets(); len(all) > 0 {
		target = all[0]
	}
	if err := r.run(req.Context(), target, r.p.actions); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	io.WriteString(w, "ok")
}

func (r *room) connect(w http.ResponseWriter, req *http.Request) {
	client, server := edgews.NewPair()
	script := r.p.register(server)
	if script.Mode == "accept" {
		a := r.p.actor(server)
		a.listen()
		a.accept(a.halfOpen)
	} else {
		r.accept(server, script)
	}
	switch err := r.run(req.Context(), server, script.Pre); {
	case err != nil:
		w.WriteHeader(http.StatusInternalServerError)
		io.WriteString(w, "Internal Server Error")
	case script.Answer != 0:
		w.WriteHeader(script.Answer)
		io.WriteString(w, "not a websocket answer")
	default:
		_ = edgews.Respond(w, req, client, r.p.options()) // the client sees an error
	}
}

// register stores the script of a socket outside of the object's value, which may be dropped.
func (p *objectPlayer) register(s *edgews.Socket) serverScript {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.scripts[s], p.names[s] = p.script, p.script.Name
	if p.script.Name == "" {
		p.names[s] = p.script.Tags[0]
	}
	return p.script
}

func (r *room) accept(s *edgews.Socket, script serverScript) {
	tags, _ := json.Marshal(script.Tags)
	r.recordResult(fmt.Sprintf("acceptWebSocket(ws, %s)", tags), r.st.AcceptWebSocket(s, script.Tags...))
	if script.Attach != nil {
		_ = s.SetAttachment(script.Attach)
	}
}

// WebSocketMessage is webSocketMessage().
func (r *room) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	r.p.actor(s).recordEvent("message", "message "+describeMessage(m))
	script := r.p.scriptOf(s).On["message"]
	if code, ok := strings.CutPrefix(string(m.Data), "!["); ok && m.Kind == edgews.Text {
		script = nil
		if err := json.Unmarshal([]byte("["+code), &script); err != nil {
			return err
		}
	}
	if len(script) == 1 && script[0].verb() == "echo" {
		r.p.awaitAllStreams()
		r.p.actor(s).echo(m)
		return nil
	}
	return r.handle(ctx, s, "webSocketMessage", script)
}

// WebSocketClose is webSocketClose().
func (r *room) WebSocketClose(ctx context.Context, s *edgews.Socket, e edgews.CloseEvent) error {
	a := r.p.actor(s)
	a.react = func(string) {
		for _, do := range r.p.inClose {
			do()
		}
	}
	a.recordEvent("close", describeClose(int(e.Code), e.Reason, e.WasClean))
	return r.handle(ctx, s, "webSocketClose", r.p.scriptOf(s).On["close"])
}

// WebSocketError is webSocketError().
func (r *room) WebSocketError(ctx context.Context, s *edgews.Socket, err error) error {
	r.p.actor(s).recordEvent("error", "error: "+cause(err))
	return r.handle(ctx, s, "webSocketError", r.p.scriptOf(s).On["error"])
}

// Alarm is alarm().
func (r *room) Alarm(ctx context.Context) error {
	sockets := r.st.WebSockets()
	r.note("alarm with %d sockets", len(sockets))
	if len(sockets) == 0 {
		return nil
	}
	return r.run(ctx, sockets[0], r.p.scriptOf(sockets[0]).On["alarm"])
}

// handle runs a handler's script. If it contains an await, its end was recorded, unless it never ended.
func (r *room) handle(ctx context.Context, s *edgews.Socket, name string, script []operation) error {
	err := r.run(ctx, s, script)
	if ctx.Err() != nil {
		return err
	}
	for _, op := range script {
		if awaits[op.verb()] {
			r.note("%s%s is over", labelOf(r.p.nameOf(s)), name)
			break
		}
	}
	return err
}

// run executes operations until one fails.
func (r *room) run(ctx context.Context, s *edgews.Socket, script []operation) error {
	for _, op := range script {
		do, known := roomVerbs[op.verb()]
		if !known {
			return fmt.Errorf("unknown operation %q", op.verb())
		}
		if err := do(r, ctx, s, op); err != nil {
			return err
		}
	}
	return nil
}

// pause waits in a handler. It is shorter than in the recording, but longer than the event time-out if the recorded one was.
func (r *room) pause(ctx context.Context, s *edgews.Socket, ms int) error {
	d := time.Duration(ms) * time.Millisecond / 5
	if r.st.EventTimeout() > 0 {
		d *= 5
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
	}
	r.p.awaitAllStreams()
	for deadline := time.Now().Add(waitTimeout); r.p.quirk.lost && s.ReadyState() == edgews.Open && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	return nil
}

// later runs fn after ms milliseconds, as a timer does.
func (r *room) later(s *edgews.Socket, ms int, fn func()) {
	r.st.WaitUntil(func(ctx context.Context) {
		if r.pause(ctx, s, ms) == nil {
			_ = r.st.Do(ctx, func() error { fn(); return nil })
		}
	})
}

var errThrown = errors.New("thrown by the scenario")
