package conformance_test

import (
	"cmp"
	"fmt"

	"github.com/edgews/edgews"
)

// expectSocket adds a recorded call, event or property of a socket to the transcript. It reports whether the entry is one.
func (t transcript) expectSocket(e *entry, phase int, connecting bool) bool {
	text := e.describeSocket(connecting)
	if text != "" {
		t.add(e.Target, phase, "%s", text)
		t.withOthers(e.Target, e)
	}
	return text != "" || e.Op == "get"
}

// describeSocket describes a recorded call, event or property of a socket; "" if the entry is none.
func (e *entry) describeSocket(connecting bool) string {
	switch e.Op {
	case "call":
		return fmt.Sprintf("%s → %s rs=%d", e.call(), e.outcome(), e.RS[e.Target])
	case "event":
		return fmt.Sprintf("%s rs=%d", e.describeEvent(connecting), e.RS[e.Target])
	case "get":
		return e.describeProperty()
	}
	return ""
}

func (e *entry) describeProperty() string {
	switch e.Prop {
	case "readyState":
		return fmt.Sprintf("readyState %d", e.Value.number())
	case "protocol", "url":
		return fmt.Sprintf("%s %q", e.Prop, e.Value.text())
	case "extensions":
		return fmt.Sprintf("extensions %q", sortedParams(e.Value.text()))
	}
	return ""
}

// call describes a recorded call, with arguments as Go's methods take them.
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

// actor replays the calls of a scenario on one socket, and records the results and events.
type actor struct {
	name     string // of its stream
	label    string // prefix of its lines, if several sockets share a stream
	s        *edgews.Socket
	rec      *recorder
	halfOpen bool              // accept() means AcceptHalfOpen
	end      string            // its name in ends, if it differs from the stream's
	ends     map[string]*actor // whose states are recorded with each line; nil: none
	react    func(kind string) // calls of the listeners; nil: none
}

func (a *actor) note(format string, args ...any) {
	a.rec.addWith(a.others(), a.name, "%s%s", a.label, fmt.Sprintf(format, args...))
}

// others returns the states of the other ends.
func (a *actor) others() map[string]int {
	states := make(map[string]int)
	for name, other := range a.ends {
		if name != cmp.Or(a.end, a.name) {
			states[name] = other.readyState()
		}
	}
	return states
}

func (a *actor) readyState() int { return int(a.s.ReadyState()) }

// listen records every event of the socket.
func (a *actor) listen() {
	a.s.OnOpen(func(edgews.OpenEvent) { a.recordEvent("open", "open") })
	a.s.OnMessage(func(e edgews.MessageEvent) { a.recordEvent("message", "message "+describeMessage(e.Message)) })
	a.s.OnError(func(e edgews.ErrorEvent) { a.recordEvent("error", "error: "+cause(e.Err)) })
	a.s.OnClose(func(e edgews.CloseEvent) { a.recordEvent("close", describeClose(int(e.Code), e.Reason, e.WasClean)) })
}

// recordEvent records an event, and makes the calls of its listener, in a turn of their own.
func (a *actor) recordEvent(kind, what string) {
	turn := &a.rec.turn
	turn.Lock()
	defer turn.Unlock()
	a.note("%s rs=%d", what, a.readyState())
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

// do replays a recorded call or the reading of a property. It reports whether the entry is one.
func (a *actor) do(e *entry) bool {
	switch {
	case e.Op == "get":
		return a.get(e.Prop)
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
	default:
		return false
	}
	return true
}

func (a *actor) recordResult(call string, err error) {
	a.note("%s → %s rs=%d", call, outcome(err), a.readyState())
}

func (a *actor) accept(half bool) {
	if half {
		a.recordResult("accept()", a.s.AcceptHalfOpen())
		return
	}
	a.recordResult("accept()", a.s.Accept())
}

func (a *actor) send(text string) { a.recordResult("send("+describeText(text)+")", a.s.Send(text)) }

func (a *actor) sendBytes(p []byte) { a.recordResult("send("+describeBinary(p)+")", a.s.SendBytes(p)) }

func (a *actor) close(code int, reason string) {
	a.recordResult(describeCloseCall(code, reason), a.s.Close(edgews.StatusCode(code), reason))
}

func (a *actor) get(prop string) bool {
	switch prop {
	case "readyState":
		a.note("readyState %d", a.readyState())
	case "protocol":
		a.note("protocol %q", a.s.Protocol())
	case "url":
		a.note("url %q", a.s.URL())
	case "extensions":
		a.note("extensions %q", sortedParams(a.s.Extensions()))
	default:
		return prop == "binaryType" // it does not exist in Go
	}
	return true
}

// waited records the ready state between two turns of the scenario.
func (a *actor) waited() { a.note("then rs=%d", a.readyState()) }
