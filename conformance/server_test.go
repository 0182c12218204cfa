package conformance_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// Group b: a real server, driven by a raw TCP client. The recorded trace falls into phases, each of which ends
// where the recording waited until nothing more came ("settle").

// expectServer returns the recorded transcript: the events of the server's socket, and the bytes that the client received.
func expectServer(s *scenario) transcript {
	t := make(transcript)
	phase, upgraded := 0, false
	for i := range s.Trace {
		e := &s.Trace[i]
		switch {
		case e.Op == "settle":
			phase++
		case e.Lane == "server" && t.expectSocket(e, phase, false):
		case e.Lane == "server" && e.Op == "note":
			t.add("b", phase, "note %s", e.Text)
		case e.Op == "http-response":
			upgraded = e.Status == http.StatusSwitchingProtocols
			var body string
			_ = json.Unmarshal(e.Body, &body)
			t.add("client", phase, "%s", describeAnswer(e.Status, e.Headers, body, s.scriptOf().Status == 0))
		case e.Op == "recv-frame":
			t.add("client", phase, "%s", e.describeFrame())
		case e.Op == "tcp" && strings.HasSuffix(e.Event, "received") && upgraded:
			upgraded = false // a reset may follow
			t.add("client", phase, "%s", e.describeTCP())
		}
	}
	t.ignoreReasons(s)
	return t
}

// scriptOf returns the script of the scenario's worker.
func (s *scenario) scriptOf() serverScript {
	for i := range s.Trace {
		if s.Trace[i].Op == "server-options" {
			return s.Trace[i].Opts
		}
	}
	return serverScript{}
}

// serverScript is the script of a worker.
type serverScript struct {
	On      map[string][]operation
	Pre     []operation // before the answer
	Accept  any         // false: never; {"allowHalfOpen": true}
	Headers map[string]string
	Status  int // of a plain answer instead of an upgrade
	Body    string

	// Of an object:
	Tags   []string
	Attach json.RawMessage
	Answer int    // status of a plain answer, after the socket was accepted
	Mode   string // "accept": with accept(), not acceptWebSocket()
	Name   string // of that socket
}

// operation is a verb and its arguments, such as ["close", 1000, "bye"].
type operation []any

func (o operation) verb() string { return o[0].(string) }

func (o operation) text(i int) string {
	if len(o) <= i {
		return ""
	}
	s, _ := o[i].(string)
	return s
}

func (o operation) number(i int) int {
	if len(o) <= i {
		return 0
	}
	n, _ := o[i].(float64)
	return int(n)
}

// serverPlayer replays one scenario.
type serverPlayer struct {
	t      *testing.T
	s      *scenario
	script serverScript
	rec    *recorder
	want   transcript
	quirk  serverQuirk
	client *rawClient
}

// serverQuirk has the parameters of a scenario that its trace does not contain.
type serverQuirk struct {
	early        []string      // texts whose frames are in the TCP segment of the handshake
	slow         string        // a text whose frame is sent byte by byte, in the second phase
	payload      func() []byte // of the frame of which only the length was recorded
	doesNotRead  bool          // the client does not read
	awaitedLines int           // number of lines of the server's end before the client resets the connection
	lost         bool          // a script that waits goes on after the close event
	goesOnAfter  map[int]int   // number of lines of the server's end before a script that waits goes on, by the milliseconds of its wait
	raw          func() []byte // the bytes for which a note of the driver stands
	options      func(*edgews.UpgradeOptions)
}

func playServer(t *testing.T, s *scenario, want transcript, rec *recorder) map[string][]string {
	p := &serverPlayer{t: t, s: s, script: s.scriptOf(), rec: rec, want: want, quirk: serverQuirks[s.ID]}
	srv := serve(t, p)
	defer srv.Close()
	p.client = &rawClient{
		t: t, rec: p.rec, name: "client", early: p.quirk.early, doesNotRead: p.quirk.doesNotRead,
		noHost: s.ID == "b-hs-no-host", ignoreBody: p.script.Status == 0,
	}
	p.client.dial(srv.Addr)
	p.drive()
	got := p.rec.result()
	p.client.conn.Close()
	return got
}

// serve returns a server at Addr. It does not use httptest, because closing such a server closes the idle connections of all scenarios.
func serve(t *testing.T, handler http.Handler) *http.Server {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := &http.Server{Addr: ln.Addr().String(), Handler: handler}
	go srv.Serve(ln)
	return srv
}

// ServeHTTP is the worker.
func (p *serverPlayer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.script.Status != 0 {
		w.WriteHeader(p.script.Status)
		io.WriteString(w, p.script.Body)
		return
	}
	client, server := edgews.NewPair()
	a := &actor{name: "b", s: server, rec: p.rec, halfOpen: p.s.halfOpen()}
	p.listen(a)
	p.begin(a)
	_ = edgews.Respond(w, r, client, p.options()) // the client sees an error
}

// begin makes the worker's calls before the answer.
func (p *serverPlayer) begin(a *actor) {
	p.rec.turn.Lock()
	defer p.rec.turn.Unlock()
	if p.script.Accept != false {
		a.acceptAs(p.script.Accept)
	}
	p.run(a, p.script.Pre, false)
}

// acceptAs accepts with the recorded argument.
func (a *actor) acceptAs(arg any) {
	options, _ := arg.(map[string]any)
	a.accept(a.halfOpen || options["allowHalfOpen"] == true)
}

func (p *serverPlayer) options() *edgews.UpgradeOptions {
	o := p.script.options(p.s)
	o.CloseTimeout = time.Minute
	if p.s.does("wait") {
		shortCloseTimeout(o)
	}
	if p.quirk.options != nil {
		p.quirk.options(o)
	}
	return o
}

// options returns the options with which edgews is closest to the runtime: no check of the origin, and all messages are compressed,
// with the window that the client asks for.
func (script serverScript) options(s *scenario) *edgews.UpgradeOptions {
	o := &edgews.UpgradeOptions{InsecureSkipOriginCheck: true}
	o.Compression = &edgews.Compression{Threshold: 1, WindowBits: 15, PeerWindowBits: 15, Disable: s.uncompressed()}
	if protocol := script.Headers["Sec-WebSocket-Protocol"]; protocol != "" {
		o.Protocols = []string{protocol}
	}
	return o
}

// listen records the events and executes the worker's script.
func (p *serverPlayer) listen(a *actor) {
	a.s.OnMessage(func(e edgews.MessageEvent) {
		p.rec.turn.Lock()
		defer p.rec.turn.Unlock()
		p.rec.add("b", "message %s rs=%d", describeMessage(e.Message), a.readyState())
		if code, ok := strings.CutPrefix(string(e.Data), "!["); ok && e.Kind == edgews.Text {
			var script []operation
			require.NoError(p.t, json.Unmarshal([]byte("["+code), &script))
			p.run(a, script, false)
			return
		}
		for _, op := range p.script.On["message"] {
			if op.verb() != "echo" {
				p.t.Errorf("unknown operation %q", op.verb())
			}
			a.echo(e.Message)
		}
	})
	a.react = func(kind string) { p.run(a, p.script.On[kind], false) }
	a.s.OnError(func(e edgews.ErrorEvent) { a.recordEvent("error", "error: "+cause(e.Err)) })
	a.s.OnClose(func(e edgews.CloseEvent) { a.recordEvent("close", describeClose(int(e.Code), e.Reason, e.WasClean)) })
}

func (a *actor) echo(m edgews.Message) {
	if m.Kind == edgews.Text {
		a.send(m.Text())
		return
	}
	a.sendBytes(m.Data)
}

// run executes operations, in a turn. After the first wait they go on in the background, as in an async function, and their errors
// are ignored.
func (p *serverPlayer) run(a *actor, script []operation, async bool) {
	for i, op := range script {
		switch op.verb() {
		case "wait":
			rest := script[i+1:]
			pause := time.Duration(op.number(1)) * time.Millisecond
			if !async {
				go func() {
					p.pause(a, pause)
					p.rec.turn.Lock()
					defer p.rec.turn.Unlock()
					p.run(a, rest, true)
				}()
				return
			}
			p.rec.turn.Unlock()
			p.pause(a, pause)
			p.rec.turn.Lock()
		case "throw":
			if !async {
				panic(op.text(1))
			}
			return
		default:
			p.perform(a, op)
		}
	}
}

// pause waits in a script, and until what came meanwhile in the recording has come here, too.
func (p *serverPlayer) pause(a *actor, d time.Duration) {
	time.Sleep(d)
	p.rec.awaitLines("b", p.quirk.goesOnAfter[int(d.Milliseconds())])
	if p.quirk.lost {
		select {
		case <-a.s.Done():
		case <-time.After(waitTimeout):
		}
	}
}

func (p *serverPlayer) perform(a *actor, op operation) {
	switch op.verb() {
	case "send":
		a.send(op.text(1))
	case "sendfill":
		fill := bytes.Repeat([]byte("a"), op.number(1))
		if op.text(2) == "bin" {
			a.sendBytes(fill)
		} else {
			a.send(string(fill))
		}
	case "close":
		a.close(op.number(1), op.text(2))
	case "rs":
		a.get("readyState")
	case "note":
		a.rec.add(a.name, "note %s", op.text(1))
	default:
		p.t.Errorf("unknown operation %q", op.verb())
	}
}

// drive replays the client, phase by phase, until a line differs.
func (p *serverPlayer) drive() {
	phase := 0
	for i := range p.s.Trace {
		e := &p.s.Trace[i]
		p.prepare(e)
		if p.client.input(e) {
			continue
		}
		switch {
		case e.Op == "settle":
			if p.slowly(phase); !p.rec.await(p.want, phase, waitTimeout) {
				return
			}
			phase++
		case e.Op == "note" && p.quirk.raw != nil && e.Lane == "driver":
			p.client.conn.Write(p.quirk.raw())
		case e.Op == "wait" && e.Lane == "driver":
			time.Sleep(2 * p.options().CloseTimeout) // the recording waited to see that nothing is timed out
		case !e.isOutcome():
			e.unknownStep(p.t)
		}
	}
	p.rec.await(p.want, lastPhase, waitTimeout)
}

// prepare makes what has to happen before an action of the client.
func (p *serverPlayer) prepare(e *entry) {
	switch {
	case e.Op == "send-frame" && e.RSV1 && p.quirk.payload != nil:
		e.Hex = hex.EncodeToString(p.quirk.payload())
	case e.Event == "RST sent":
		p.rec.awaitLines("b", p.quirk.awaitedLines)
	}
}

// slowly sends a frame byte by byte.
func (p *serverPlayer) slowly(phase int) {
	if phase != 1 || p.quirk.slow == "" {
		return
	}
	for _, b := range maskedText(p.quirk.slow) {
		p.client.conn.Write([]byte{b})
		time.Sleep(time.Millisecond)
	}
}
