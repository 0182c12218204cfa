package conformance_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// Group b: a real server, driven by a raw TCP client. The recorded trace falls into phases, each of which ends
// where the recording waited for silence ("settle").

// expectServer returns the recorded transcript: what the server's socket saw, and what the client received.
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
			t.add("client", phase, "connection ended")
		}
	}
	t.anyWords(s)
	return t
}

// scriptOf returns what the scenario's worker does.
func (s *scenario) scriptOf() serverScript {
	for i := range s.Trace {
		if s.Trace[i].Op == "server-options" {
			return s.Trace[i].Opts
		}
	}
	return serverScript{}
}

// serverScript is what the worker was told to do.
type serverScript struct {
	On      map[string][]operation
	Pre     []operation // before the answer
	Accept  any         // false: never; {"allowHalfOpen": true}
	Headers map[string]string
	Status  int // an ordinary answer instead
	Body    string
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
	conn   *net.TCPConn
}

// serverQuirk is what a scenario needs beyond its trace.
type serverQuirk struct {
	early   []string      // texts whose frames come in the segment of the handshake
	slow    string        // a text whose frame is sent byte by byte, in the second phase
	payload func() []byte // of the frame that was recorded by its length only
	deaf    bool          // the client does not read
	hears   int           // lines of the server's end to wait for before the client resets the connection
	raw     func() []byte // what a note of the driver stands for
	options func(*edgews.UpgradeOptions)
}

func playServer(t *testing.T, s *scenario, want transcript) map[string][]string {
	p := &serverPlayer{t: t, s: s, script: s.scriptOf(), rec: newRecorder(), want: want, quirk: serverQuirks[s.ID]}
	srv := httptest.NewServer(p)
	defer srv.Close()
	p.dial(srv.Listener.Addr().String())
	p.drive()
	got := p.rec.result()
	p.conn.Close()
	return got
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
	if p.script.Accept != false {
		a.acceptAs(p.script.Accept)
	}
	p.run(a, p.script.Pre, false)
	_ = edgews.Respond(w, r, client, p.options()) // an error is the client's to see
}

// acceptAs accepts with the argument that the worker was told to use.
func (a *actor) acceptAs(arg any) {
	options, _ := arg.(map[string]any)
	a.accept(a.halfOpen || options["allowHalfOpen"] == true)
}

// options are those under which edgews is closest to the runtime: no check of the origin; everything is
// compressed, with the window the client asks for.
func (p *serverPlayer) options() *edgews.UpgradeOptions {
	o := &edgews.UpgradeOptions{InsecureSkipOriginCheck: true}
	o.Compression = &edgews.Compression{Threshold: 1, WindowBits: 15, PeerWindowBits: 15, Disable: p.s.uncompressed()}
	o.CloseTimeout = 300 * time.Millisecond
	if protocol := p.script.Headers["Sec-WebSocket-Protocol"]; protocol != "" {
		o.Protocols = []string{protocol}
	}
	if p.quirk.options != nil {
		p.quirk.options(o)
	}
	return o
}

// listen records the events and does what the worker's script says.
func (p *serverPlayer) listen(a *actor) {
	a.s.OnMessage(func(e edgews.MessageEvent) {
		a.rec.add("b", "message %s rs=%d", describeMessage(e.Message), a.rs())
		if code, ok := strings.CutPrefix(string(e.Data), "!["); ok && e.Kind == edgews.Text {
			var script []operation
			require.NoError(p.t, json.Unmarshal([]byte("["+code), &script))
			p.run(a, script, false)
			return
		}
		for _, op := range p.script.On["message"] {
			if op.verb() == "echo" {
				a.echo(e.Message)
			}
		}
	})
	a.s.OnError(func(e edgews.ErrorEvent) {
		a.saw("error", "error: "+cause(e.Err))
		p.run(a, p.script.On["error"], false)
	})
	a.s.OnClose(func(e edgews.CloseEvent) {
		a.saw("close", describeClose(int(e.Code), e.Reason, e.WasClean))
		p.run(a, p.script.On["close"], false)
	})
}

func (a *actor) echo(m edgews.Message) {
	if m.Kind == edgews.Text {
		a.send(m.Text())
		return
	}
	a.sendBytes(m.Data)
}

// run executes operations. After the first wait they go on in the background, as an async function does, and
// what they throw is nobody's business.
func (p *serverPlayer) run(a *actor, script []operation, async bool) {
	for i, op := range script {
		switch op.verb() {
		case "wait":
			rest := script[i+1:]
			pause := time.Duration(op.number(1)) * time.Millisecond
			if !async {
				go func() {
					time.Sleep(pause)
					p.run(a, rest, true)
				}()
				return
			}
			time.Sleep(pause)
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
		code := 0
		if len(op) > 1 {
			code = op.number(1)
		}
		a.close(code, op.text(2))
	case "rs":
		a.get("readyState")
	case "note":
		a.rec.add(a.name, "note %s", op.text(1))
	}
}

// dial connects the raw client.
func (p *serverPlayer) dial(addr string) {
	conn, err := net.Dial("tcp", addr)
	require.NoError(p.t, err)
	p.conn = conn.(*net.TCPConn)
}

// drive plays the client's side, phase by phase, until something differs.
func (p *serverPlayer) drive() {
	phase := 0
	var together []byte // frames for one TCP segment
	for i := range p.s.Trace {
		e := &p.s.Trace[i]
		if len(together) > 0 && e.Note != sameSegment {
			p.conn.Write(together)
			together = nil
		}
		if e.Op == "settle" {
			if p.slowly(phase); !p.rec.await(p.want, phase, patience) {
				return
			}
			phase++
			continue
		}
		if e.Op == "send-frame" && e.Note == sameSegment {
			together = append(together, e.encode()...)
			continue
		}
		p.input(e)
	}
	p.rec.await(p.want, atLast, patience)
}

const sameSegment = "same TCP segment"

// input does what the client or the driver did.
func (p *serverPlayer) input(e *entry) {
	switch {
	case e.Op == "connect":
		p.handshake(e.Request)
	case e.Op == "send-frame":
		p.conn.Write(p.frame(e))
	case e.Op == "send-raw":
		raw, _ := hex.DecodeString(e.Bytes)
		p.conn.Write(raw)
	case e.Op == "note" && p.quirk.raw != nil && e.Lane == "driver":
		p.conn.Write(p.quirk.raw())
	case e.Op == "wait" && e.Lane == "driver":
		time.Sleep(2 * p.options().CloseTimeout) // the recording waited to see that nothing times out
	case e.Op == "tcp":
		p.hangUp(e.Event)
	}
}

func (p *serverPlayer) frame(e *entry) []byte {
	if p.quirk.payload != nil && e.RSV1 {
		e.Hex = hex.EncodeToString(p.quirk.payload())
	}
	return e.encode()
}

func (p *serverPlayer) hangUp(how string) {
	switch how {
	case "FIN sent":
		p.conn.CloseWrite()
	case "RST sent":
		time.Sleep(silence) // for what was sent before to be read: a reset may overtake it
		p.rec.awaitLines("b", p.quirk.hears)
		p.conn.SetLinger(0)
		p.conn.Close()
	}
}

// slowly sends the frame that a scenario sends byte by byte.
func (p *serverPlayer) slowly(phase int) {
	if phase != 1 || p.quirk.slow == "" {
		return
	}
	for _, b := range maskedText(p.quirk.slow) {
		p.conn.Write([]byte{b})
		time.Sleep(time.Millisecond)
	}
}

func maskedText(text string) []byte {
	return (&entry{Opcode: "text", Fin: true, Masked: true, Text: text, textGiven: true}).encode()
}

// handshake sends the request and starts to record what comes back.
func (p *serverPlayer) handshake(r request) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s /b HTTP/%s\r\n", r.Method, r.Version)
	if p.s.ID != "b-hs-no-host" {
		b.WriteString("Host: " + p.conn.RemoteAddr().String() + "\r\n")
	}
	for _, h := range r.Headers {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n")
	for _, text := range p.quirk.early {
		b.Write(maskedText(text))
	}
	p.conn.Write(b.Bytes())
	go p.receive(r)
}

// receive records the answer and the frames.
func (p *serverPlayer) receive(r request) {
	in := bufio.NewReader(p.conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		p.rec.add("client", "no answer: %v", err)
		return
	}
	key := ""
	if i := slices.IndexFunc(r.Headers, func(h string) bool { return strings.HasPrefix(h, "Sec-WebSocket-Key: ") }); i >= 0 {
		key = strings.TrimPrefix(r.Headers[i], "Sec-WebSocket-Key: ")
	}
	headers := headerLines(resp.Header, key)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(resp.Body)
		p.rec.add("client", "%s", describeAnswer(resp.StatusCode, headers, string(body), p.script.Status == 0))
		return
	}
	p.rec.add("client", "%s", describeAnswer(resp.StatusCode, headers, "", false))
	if p.quirk.deaf {
		return
	}
	forget := strings.Contains(resp.Header.Get("Sec-WebSocket-Extensions"), "server_no_context_takeover")
	frames := &frameReader{r: in, forget: forget}
	frames.record(p.rec, "client", nil, nil)
}
