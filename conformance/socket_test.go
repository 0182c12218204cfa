package conformance_test

import (
	"fmt"

	"github.com/edgews/edgews"
)

// expectSocket writes a recorded call, event or property of a socket into the transcript. It reports whether the
// entry is one.
func (t transcript) expectSocket(e *entry, phase int, connecting bool) bool {
	switch e.Op {
	case "call":
		t.add(e.Target, phase, "%s → %s rs=%d", e.call(), e.outcome(), e.RS[e.Target])
	case "event":
		t.add(e.Target, phase, "%s rs=%d", e.describeEvent(connecting), e.RS[e.Target])
	case "get":
		t.expectProperty(e, phase)
	default:
		return false
	}
	return true
}

func (t transcript) expectProperty(e *entry, phase int) {
	switch e.Prop {
	case "readyState":
		t.add(e.Target, phase, "readyState %d", e.Value.number())
	case "protocol", "url":
		t.add(e.Target, phase, "%s %q", e.Prop, e.Value.text())
	case "extensions":
		t.add(e.Target, phase, "extensions %q", sortedParams(e.Value.text()))
	}
}

// call writes a recorded call. Arguments are normalised to what Go's methods take.
func (e *entry) call() string {
	switch e.Method {
	case "send":
		return fmt.Sprintf("send(%s)", e.Args[0].describe())
	case "close":
		code, reason := e.closeArgs()
		return describeCloseCall(code, reason)
	}
	return e.Method + "()"
}

func describeCloseCall(code int, reason string) string {
	return fmt.Sprintf("close(%d, %q)", code, reason)
}

func (e *entry) closeArgs() (code int, reason string) {
	if len(e.Args) > 0 {
		code = e.Args[0].number()
	}
	if len(e.Args) > 1 {
		reason = e.Args[1].text()
	}
	return code, reason
}

func (e *entry) describeEvent(connecting bool) string {
	switch e.Type {
	case "message":
		return "message " + e.Data.describe()
	case "close":
		return describeClose(e.Code, e.Reason, e.WasClean)
	case "error":
		return "error: " + jsCause(e.Message, connecting)
	}
	return e.Type
}

func describeClose(code int, reason string, clean bool) string {
	how := "unclean"
	if clean {
		how = "clean"
	}
	return fmt.Sprintf("close %d %q %s", code, reason, how)
}

// actor replays what a scenario does with one socket, and records what comes of it.
type actor struct {
	name     string
	s        *edgews.Socket
	rec      *recorder
	halfOpen bool              // accept() means AcceptHalfOpen
	react    func(kind string) // what the listeners do; nil: nothing
}

func (a *actor) rs() int { return int(a.s.ReadyState()) }

// listen records every event of the socket.
func (a *actor) listen() {
	a.s.OnOpen(func(edgews.OpenEvent) { a.saw("open", "open") })
	a.s.OnMessage(func(e edgews.MessageEvent) { a.saw("message", "message "+describeMessage(e.Message)) })
	a.s.OnError(func(e edgews.ErrorEvent) { a.saw("error", "error: "+cause(e.Err)) })
	a.s.OnClose(func(e edgews.CloseEvent) { a.saw("close", describeClose(int(e.Code), e.Reason, e.WasClean)) })
}

func (a *actor) saw(kind, what string) {
	a.rec.add(a.name, "%s rs=%d", what, a.rs())
	if a.react != nil {
		a.react(kind)
	}
}

func describeMessage(m edgews.Message) string {
	if m.Kind == edgews.Text {
		return describeText(m.Text())
	}
	return describeBinary(m.Data)
}

// do replays a recorded call or the reading of a property.
func (a *actor) do(e *entry) {
	switch {
	case e.Op == "get":
		a.get(e.Prop)
	case e.Method == "accept":
		half := a.halfOpen || len(e.Args) > 0 && e.Args[0].JSON == `{"allowHalfOpen":true}`
		a.accept(half)
	case e.Method == "send" && e.Args[0].isText():
		a.send(e.Args[0].text())
	case e.Method == "send":
		a.sendBytes(e.Args[0].bytes())
	case e.Method == "close":
		code, reason := e.closeArgs()
		a.close(code, reason)
	}
}

func (a *actor) did(call string, err error) {
	a.rec.add(a.name, "%s → %s rs=%d", call, outcome(err), a.rs())
}

func (a *actor) accept(half bool) {
	if half {
		a.did("accept()", a.s.AcceptHalfOpen())
		return
	}
	a.did("accept()", a.s.Accept())
}

func (a *actor) send(text string) { a.did("send("+describeText(text)+")", a.s.Send(text)) }

func (a *actor) sendBytes(p []byte) { a.did("send("+describeBinary(p)+")", a.s.SendBytes(p)) }

func (a *actor) close(code int, reason string) {
	a.did(describeCloseCall(code, reason), a.s.Close(edgews.StatusCode(code), reason))
}

func (a *actor) get(prop string) {
	switch prop {
	case "readyState":
		a.rec.add(a.name, "readyState %d", a.rs())
	case "protocol":
		a.rec.add(a.name, "protocol %q", a.s.Protocol())
	case "url":
		a.rec.add(a.name, "url %q", a.s.URL())
	case "extensions":
		a.rec.add(a.name, "extensions %q", sortedParams(a.s.Extensions()))
	}
}

// waited records the ready state between two turns of the scenario.
func (a *actor) waited() { a.rec.add(a.name, "then rs=%d", a.rs()) }
