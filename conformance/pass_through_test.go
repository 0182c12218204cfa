package conformance_test

import (
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// The scenarios c-pass-*: a worker returns the response of fetch untouched. Here that is a Proxy, between the raw client of group b and the
// raw origin of group c.

func (s *scenario) passesThrough() bool { return strings.HasPrefix(s.ID, "c-pass-") }

// expectPassThrough returns the recorded transcript: what the client and the origin received.
func expectPassThrough(s *scenario) transcript {
	t := make(transcript)
	phase := 0
	for i := range s.Trace {
		e := &s.Trace[i]
		switch {
		case e.Op == "settle":
			phase++
		case e.Lane == "origin":
			t.expectOrigin(e, phase)
		case e.Op == "http-response":
			t.add("client", phase, "%s", describeAnswer(e.Status, e.Headers, "", true))
		case e.Op == "recv-frame":
			t.add("client", phase, "%s", e.describeFrame())
		case e.Op == "tcp" && strings.HasSuffix(e.Event, "received"):
			t.add("client", phase, "%s", e.describeTCP())
		}
	}
	t.ignoreReasons(s)
	return t
}

func playPassThrough(t *testing.T, s *scenario, want transcript, rec *recorder) map[string][]string {
	o := newOrigin(t, s, rec, true)
	defer o.close()
	srv := serve(t, edgews.Proxy("http://"+o.addr(), &edgews.ProxyOptions{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Path = s.originPath(t) // the worker chose it
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
			r.Out.Header[name] = nil // fetch sends none
		}
		if s.uncompressed() { // a mode in which fetch offers no compression
			r.Out.Header.Del("Sec-Websocket-Extensions")
		}
	}, HTTPClient: &http.Client{Transport: &http.Transport{}}}))
	defer srv.Close()
	client := &rawClient{t: t, rec: rec, name: "client", ignoreBody: true}
	client.dial(srv.Addr)
	phase := 0
	for i := range s.Trace {
		switch e := &s.Trace[i]; {
		case e.Lane == "client" && client.input(e):
		case e.Op == "settle":
			if !rec.await(want, phase, waitTimeout) {
				return rec.result()
			}
			phase++
		case e.Lane != "origin" && !e.isOutcome():
			e.unknownStep(t)
		}
	}
	rec.await(want, lastPhase, waitTimeout)
	got := rec.result()
	client.conn.Close()
	return got
}

// originPath returns the path of the request that the worker made.
func (s *scenario) originPath(t *testing.T) string {
	for i := range s.Trace {
		if e := &s.Trace[i]; e.Op == "http-request" {
			return strings.Fields(e.RequestLine)[1]
		}
	}
	require.FailNow(t, "no request", s.ID)
	return ""
}
