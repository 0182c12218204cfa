package conformance

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/require"
)

// commandServer is an edgews server that echoes messages and executes the same commands as the peers' servers. Unlike echoServer it
// uses Receive.
func commandServer(t testing.TB, opts edgews.UpgradeOptions) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, &opts)
		if err != nil {
			t.Error(err)
			return
		}
		if err := serveCommands(s); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http")
}

// serveCommands serves one socket until it is closed.
func serveCommands(s *edgews.Socket) error {
	ctx := context.Background()
	fragments := 1
	for m, err := range s.Messages(ctx) {
		if err != nil {
			return ignoreClose(err)
		}
		command, rest, _ := strings.Cut(string(m.Data[:min(len(m.Data), 200)]), " ")
		switch {
		case m.Kind == edgews.Text && command == "!close":
			code, reason, _ := strings.Cut(rest, " ")
			n, _ := strconv.Atoi(code)
			err = s.Close(edgews.StatusCode(n), reason)
		case m.Kind == edgews.Text && command == "!ping":
			if _, err = s.Ping(ctx); err == nil {
				err = s.Send(rest)
			}
		case m.Kind == edgews.Text && command == "!fragments":
			fragments, err = strconv.Atoi(rest)
		default:
			err = sendFragments(ctx, s, m, fragments)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ignoreClose returns nil for every clean close.
func ignoreClose(err error) error {
	if end, ok := err.(*edgews.CloseError); ok && end.WasClean {
		return nil
	}
	return err
}

// sendFragments sends m in n frames.
func sendFragments(ctx context.Context, s *edgews.Socket, m edgews.Message, n int) error {
	if n == 1 {
		return s.Write(ctx, m.Kind, m.Data)
	}
	w, err := s.NextWriter(ctx, m.Kind)
	if err != nil {
		return err
	}
	size := len(m.Data)/n + 1
	for rest := m.Data; len(rest) > 0; rest = rest[min(size, len(rest)):] {
		if _, err := w.Write(rest[:min(size, len(rest))]); err != nil {
			return err
		}
	}
	return w.Close()
}

// TestPeerClient connects clients of other implementations to an edgews server.
func TestPeerClient(t *testing.T) {
	eachProgram(t, func(t *testing.T, p program) {
		url := commandServer(t, edgews.UpgradeOptions{Options: wideOptions, Protocols: []string{"chat"}})
		t.Run("compression", func(t *testing.T) { p.testClientCompression(t, url) })
		t.Run("sizes", func(t *testing.T) { p.testClientSizes(t, url) })
		t.Run("closes", func(t *testing.T) { p.testClientCloses(t, url) })
	})
}

// echoes returns steps with messages of all sizes, whole and in fragments, in both directions.
func echoes() (steps []peerStep) {
	add := func(fragments int) {
		for _, size := range peerSizes {
			steps = append(steps,
				peerStep{Echo: "text", Size: size, Fragments: fragments},
				peerStep{Echo: "binary", Size: size, Fragments: fragments})
		}
	}
	add(1)
	steps = append(steps, peerStep{Say: "!fragments 3"})
	add(3)
	return steps
}

func closeStep(code int, reason string) peerStep { return peerStep{Close: &code, Reason: reason} }

func pingStep(data string) peerStep { return peerStep{Ping: &data} }

func (p program) testClientCompression(t *testing.T, url string) {
	var scenarios []peerScenario
	var asked []deflateParams
	for _, d := range allDeflateParams() {
		if d.clientBits != 0 && d.clientBits < p.minBits {
			continue
		}
		asked = append(asked, d)
		scenarios = append(scenarios, peerScenario{URL: url, Deflate: p.params(d), Steps: append(echoes(), closeStep(1000, "done"))})
	}
	for i, got := range p.play(t, scenarios) {
		require.Empty(t, got.Error, "%v", asked[i])
		require.True(t, asked[i].agreedIn(got.Extensions), "asked for %v, agreed on %q", asked[i], got.Extensions)
		require.Equal(t, 1000, got.Code, "%v", asked[i])
	}
}

func (p program) testClientSizes(t *testing.T, url string) {
	steps := []peerStep{{Echo: "binary", Size: hugeSize}, {Echo: "text", Size: hugeSize, Fragments: 16}, closeStep(1000, "")}
	for _, got := range p.play(t, []peerScenario{
		{URL: url, Deflate: p.params(deflateParams{off: true}), Steps: steps},
		{URL: url, Deflate: p.params(deflateParams{}), Steps: steps},
	}) {
		require.Empty(t, got.Error)
		require.Equal(t, 1000, got.Code)
	}
}

// peerCloses are closes: the code, the reason, and the code that the other side receives.
var peerCloses = []struct {
	code   int
	reason string
	seen   int
}{
	{1000, "", 1000}, {1000, "done", 1000}, {1001, "going", 1001}, {1011, "größer", 1011}, {3000, "", 3000},
	{4999, strings.Repeat("r", 123), 4999}, {0, "", 1005},
}

func (p program) testClientCloses(t *testing.T, url string) {
	var scenarios []peerScenario
	add := func(steps ...peerStep) {
		scenarios = append(scenarios, peerScenario{URL: url, Protocols: []string{"other", "chat"}, Deflate: p.params(deflateParams{off: true}), Steps: steps})
	}
	for _, c := range peerCloses {
		add(pingStep("before the end"), peerStep{Say: "!ping back", Answer: "back"}, closeStep(c.code, c.reason)) // by the client
		add(peerStep{Say: fmt.Sprintf("!close %d %s", c.code, c.reason)})                                         // by the server
	}
	for i, got := range p.play(t, scenarios) {
		want := peerCloses[i/2]
		require.Empty(t, got.Error, "%+v", want)
		require.Equal(t, "chat", got.Protocol)
		require.Equal(t, want.seen, got.Code)
		require.Equal(t, want.reason, got.Reason)
	}
}
