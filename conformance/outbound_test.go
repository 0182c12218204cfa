package conformance_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// Group c: edgews sockets that connect to a raw origin. A phase ends where the worker waited.

// expectOutbound returns the recorded transcript.
func expectOutbound(s *scenario) transcript {
	t := make(transcript)
	phase, connecting := 0, true
	for i := range s.Trace {
		e := &s.Trace[i]
		connecting = connecting && (e.Op != "event" || e.Type != "open")
		switch {
		case e.Lane == "origin":
			if !s.endedWithRequest(e) {
				t.expectOrigin(e, phase)
			}
		case e.Target == "new":
			t.add("w", phase, "new rs=%d", e.RS["w"])
		case e.Op == "wait":
			phase++
			if rs, ok := e.RS["w"]; ok {
				t.add("w", phase, "then rs=%d", rs)
			}
		case e.Op == "response":
			t.add("fetch", phase, "%s", e.describeResponse())
		case e.Op == "await" && !e.OK:
			t.add("fetch", phase, "failed")
		default:
			t.expectSocket(e, phase, connecting)
		}
	}
	t.ignoreReasons(s)
	return t
}

// endedWithRequest reports whether e is the end of a connection that the runtime closed at the end of the request that had opened it.
// Go programs have no such end.
func (s *scenario) endedWithRequest(e *entry) bool {
	if e.Op != "tcp" || !strings.HasPrefix(s.ID, "c-fetch") {
		return false
	}
	for i := range s.Trace {
		if s.Trace[i].Method == "accept" || s.Trace[i].Op == "response" && s.Trace[i].WebSocket == nil {
			return false
		}
	}
	return true
}

func (e *entry) describeResponse() string {
	var body string
	_ = json.Unmarshal(e.Body, &body)
	return describeResponse(e.Status, e.WebSocket != nil, e.Headers, body)
}

func describeResponse(status int, socket bool, headers []string, body string) string {
	text := "response"
	if socket {
		text = "response with a socket"
	}
	return strings.TrimSpace(text + " " + describeAnswer(status, headers, body, false) + " " + normalHeaders(headers))
}

// outboundPlayer replays one scenario.
type outboundPlayer struct {
	t      *testing.T
	s      *scenario
	rec    *recorder
	want   transcript
	origin *origin
	inside listenerCalls
	w      *actor
	phase  int
}

func playOutbound(t *testing.T, s *scenario, want transcript, rec *recorder) map[string][]string {
	o := newOrigin(t, s, rec, false)
	defer o.close()
	var worker []*entry
	for i := range s.Trace {
		if s.Trace[i].Lane == "worker" {
			worker = append(worker, &s.Trace[i])
		}
	}
	script, inside := splitTrace(worker)
	p := &outboundPlayer{t: t, s: s, rec: rec, want: want, origin: o, inside: inside}
	p.play(script)
	return rec.result()
}

func (p *outboundPlayer) play(script []*entry) {
	p.rec.turn.Lock()
	for _, e := range script {
		if e.Op != "wait" {
			p.step(e)
		} else if !p.wait(e) {
			break
		}
	}
	p.rec.turn.Unlock()
	p.rec.await(p.want, lastPhase, waitTimeout)
	runtime.KeepAlive(p) // the garbage collector closes the connection of an unreachable socket
}

// wait waits until all expected lines have been recorded.
func (p *outboundPlayer) wait(e *entry) bool {
	p.rec.turn.Unlock()
	ok := p.rec.await(p.want, p.phase, waitTimeout)
	p.rec.awaitLines("origin", originLines[p.s.ID])
	p.rec.turn.Lock()
	p.phase++
	if p.w != nil && len(e.RS) > 0 {
		p.w.waited()
	}
	return ok
}

func (p *outboundPlayer) step(e *entry) {
	switch {
	case e.Target == "new":
		p.connect(e)
	case e.Op == "await":
		p.fetch(e.What)
	case p.w != nil && (e.Op == "call" || e.Op == "get") && p.w.do(e):
	case !e.isOutcome():
		e.unknownStep(p.t)
	}
}

// connect is new WebSocket(url, protocols).
func (p *outboundPlayer) connect(e *entry) {
	url := strings.Replace(e.Args[0].text(), "127.0.0.1:PORT", p.origin.addr(), 1)
	var protocols []string
	if len(e.Args) > 1 {
		for _, v := range e.Args[1].Items {
			protocols = append(protocols, v.text())
		}
	}
	s, err := edgews.NewWebSocket(url, protocols...)
	require.NoError(p.t, err)
	p.take(s)
	p.rec.add("w", "new rs=%d", p.w.readyState())
}

func (p *outboundPlayer) take(s *edgews.Socket) {
	p.w = &actor{name: "w", s: s, rec: p.rec, halfOpen: p.s.halfOpen()}
	p.w.react = p.inside.of(p.w, outboundScripts[p.s.ID])
	p.w.listen()
}

// originLines is the number of lines of the origin before a wait ends, in scenarios in which an automatic answer to the origin would
// otherwise race with the next action of the worker.
var originLines = map[string]int{"c-server-ping": 2}

// outboundScripts are the actions of listeners that the traces do not contain.
var outboundScripts = map[string]map[string]func(*actor){
	"c-throw-in-open-handler": {"w/open/1": throw(errors.New("open boom"))},
}

var fetchCall = regexp.MustCompile(`^fetch\(([^,]+), (\{.*\})\)$`)

// fetch is fetch() with the header "Upgrade: websocket". Unlike new WebSocket it offers no compression unless asked to.
func (p *outboundPlayer) fetch(what string) {
	var init struct {
		Headers  map[string]string
		Redirect string
	}
	url := "http://" + p.refusing() + "/"
	if m := fetchCall.FindStringSubmatch(what); m != nil {
		url = strings.Replace(m[1], "PORT", p.origin.addr(), 1)
		require.NoError(p.t, json.Unmarshal([]byte(m[2]), &init))
	}
	transport := &http.Transport{}
	p.t.Cleanup(transport.CloseIdleConnections)
	opts := fetchOptions(init.Headers)
	opts.HTTPClient = &http.Client{Transport: transport}
	if init.Redirect == "manual" {
		opts.HTTPClient.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	p.rec.turn.Unlock()
	s, resp, err := edgews.Dial(p.t.Context(), url, opts)
	p.rec.turn.Lock()
	p.fetched(s, resp, err)
}

// refusing returns an address that refuses connections. Its port is below those that a system gives to servers without one, so that no
// other test takes it.
func (p *outboundPlayer) refusing() string {
	for range 100 {
		if ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000))); err == nil {
			defer ln.Close()
			return ln.Addr().String()
		}
	}
	require.FailNow(p.t, "no free port")
	return ""
}

func fetchOptions(headers map[string]string) *edgews.DialOptions {
	opts := &edgews.DialOptions{Header: make(http.Header)}
	opts.Compression = &edgews.Compression{Disable: true}
	for name, v := range headers {
		switch name {
		case "Sec-WebSocket-Protocol":
			opts.Protocols = strings.Split(v, ", ")
		case "Sec-WebSocket-Extensions":
			opts.Compression = &edgews.Compression{Disable: v == "", NoContextTakeover: true, WindowBits: 15, PeerWindowBits: 15}
		default:
			opts.Header.Set(name, v)
		}
	}
	return opts
}

func (p *outboundPlayer) fetched(s *edgews.Socket, resp *http.Response, err error) {
	if s != nil {
		p.take(s)
	}
	if resp == nil {
		require.Error(p.t, err)
		p.rec.add("fetch", "failed")
		return
	}
	var body []byte
	if err != nil {
		body, _ = io.ReadAll(resp.Body)
	}
	headers := headerLines(resp.Header, "")
	for i, h := range headers {
		if strings.HasPrefix(h, "Sec-Websocket-Accept: ") {
			h = "sec-websocket-accept: <present>"
		}
		headers[i] = strings.ReplaceAll(h, p.origin.addr(), "127.0.0.1:PORT")
	}
	p.rec.add("fetch", "%s", describeResponse(resp.StatusCode, s != nil, headers, string(body)))
}
