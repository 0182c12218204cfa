package conformance

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/require"
)

// Sections 12 and 13: permessage-deflate. Upstream sends 1000 messages per case and waits for each echo, which takes long with large
// messages. The tests here send 128 KiB, but at least five messages. AUTOBAHN_FULL=1 sends 1000.

// compressionSizes are the sizes of the messages and of their fragments; 0: one frame.
var compressionSizes = []struct{ size, fragment int }{
	{16, 0}, {64, 0}, {256, 0}, {1 * kib, 0}, {4 * kib, 0}, {8 * kib, 0}, {16 * kib, 0}, {32 * kib, 0}, {64 * kib, 0}, {128 * kib, 0},
	{8 * kib, 256}, {16 * kib, 256}, {32 * kib, 256}, {64 * kib, 256}, {128 * kib, 256},
	{128 * kib, 1 * kib}, {128 * kib, 4 * kib}, {128 * kib, 32 * kib},
}

// The peer's offer as a client, which supports all parameters that the server may ask for, and its answer as a server.
const (
	offers  = "permessage-deflate; client_no_context_takeover; client_max_window_bits"
	answers = "permessage-deflate; server_max_window_bits=12"
	answer8 = "permessage-deflate; server_max_window_bits=8"
)

// compressionParams are the subsections of 13: whether no_context_takeover and max_window_bits are asked of the edgews end.
var compressionParams = []struct{ offer, answer string }{
	{offers, answers},
	{offers + "; server_no_context_takeover", answers + "; client_no_context_takeover"},
	{offers + "; server_max_window_bits=8", answer8 + "; client_max_window_bits=8"},
	{offers + "; server_max_window_bits=15", answers + "; client_max_window_bits=15"},
	{offers + "; server_no_context_takeover; server_max_window_bits=8", answer8 + "; client_no_context_takeover; client_max_window_bits=8"},
	{offers + "; server_no_context_takeover; server_max_window_bits=15", answers + "; client_no_context_takeover; client_max_window_bits=15"},
	{strings.Join([]string{
		offers + "; server_no_context_takeover; server_max_window_bits=8", offers + "; server_no_context_takeover", offers,
	}, ", "), answer8 + "; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=8"},
}

// compressionCase sends compressed messages from data and expects the echo of each.
type compressionCase struct {
	id            string
	first         byte
	data          []byte
	size          int
	fragment      int
	offer, answer string
}

func compressionCases() (cases []compressionCase) {
	add := func(subsection string, set dataSet, offer, answer string) {
		for i, s := range compressionSizes {
			cases = append(cases, compressionCase{fmt.Sprintf("%s.%d", subsection, i+1), set.first, set.data, s.size, s.fragment, offer, answer})
		}
	}
	sets := dataSets()
	for i, set := range sets {
		add(fmt.Sprintf("12.%d", i+1), set, offers, answers)
	}
	for i, p := range compressionParams {
		add(fmt.Sprintf("13.%d", i+1), sets[0], p.offer, p.answer)
	}
	return cases
}

func TestAutobahnCompression(t *testing.T) {
	everything := edgews.Options{Compression: &edgews.Compression{Threshold: 1}}
	cases := compressionCases()
	if testing.Short() || raceEnabled { // the inflater of the peer takes most of the time
		cases = upTo32KiB(cases)
	}
	play(t, subjects(t, everything), scenarios(cases))
}

// TestAutobahnCompressionLargeWindow runs sections 12 and 13 again, with an edgews that uses a window of 32 KiB where it is allowed.
func TestAutobahnCompressionLargeWindow(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("the window makes no difference to what -short and -race look for")
	}
	large := edgews.Options{Compression: &edgews.Compression{Threshold: 1, WindowBits: 15, PeerWindowBits: 15}}
	play(t, map[string]subject{"server": newEchoServer(t, echoStyles[0], &edgews.UpgradeOptions{Options: large})}, scenarios(compressionCases()))
}

// TestAutobahnCompressionLevel runs sections 12 and 13 again, with a level that uses another, slower compressor, and messages of up to
// 32 KiB.
func TestAutobahnCompressionLevel(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("the level makes no difference to what -short and -race look for")
	}
	level := edgews.Options{Compression: &edgews.Compression{Threshold: 1, Level: 6}}
	play(t, map[string]subject{
		"server": newEchoServer(t, echoStyles[0], &edgews.UpgradeOptions{Options: level}),
		"client": newEchoClient(t, echoStyles[0], &edgews.DialOptions{Options: level}),
	}, scenarios(upTo32KiB(compressionCases())))
}

// upTo32KiB returns the cases whose messages have at most 32 KiB.
func upTo32KiB(cases []compressionCase) []compressionCase {
	return slices.DeleteFunc(cases, func(c compressionCase) bool { return c.size > 32*kib })
}

func (c compressionCase) number() string { return c.id }

func (c compressionCase) run(t *testing.T, s subject) {
	extensions := c.answer
	if _, ok := s.(*echoServer); ok {
		extensions = c.offer
	}
	p, socket := s.connect(t, extensions)
	require.Contains(t, p.extensions, "permessage-deflate")
	require.ElementsMatch(t, strings.Split(p.extensions, "; "), strings.Split(socket.Extensions(), "; "))
	out, in := p.compression()
	for i := range c.count() {
		p.conn.SetDeadline(time.Now().Add(timeLimit))
		message := c.message(i)
		p.send(fragmented(rawFrame{c.first | rsv1, string(out.message(message))}, c.fragmentSize())...)
		require.Equal(t, string(message), p.readCompressed(c.first, in))
	}
	closedByPeer.play(p, socket)
}

// count returns the number of messages to send.
func (c compressionCase) count() int {
	switch {
	case os.Getenv("AUTOBAHN_FULL") != "":
		return 1000
	case testing.Short() || raceEnabled:
		return min(max(8*kib/c.size, 2), 50)
	}
	return min(max(128*kib/c.size, 5), 1000)
}

func (c compressionCase) message(i int) []byte {
	at := i * c.size % len(c.data)
	m := append([]byte(nil), c.data[at:min(at+c.size, len(c.data))]...)
	return append(m, c.data[:c.size-len(m)]...)
}

func (c compressionCase) fragmentSize() int {
	if c.fragment == 0 {
		return 1 << 30
	}
	return c.fragment
}

// compression returns the compressor and the inflater of the peer for the negotiated parameters.
func (p *rawPeer) compression() (*deflater, *inflater) {
	mine, theirs := "server", "client"
	if p.client {
		mine, theirs = theirs, mine
	}
	return &deflater{window: p.window(mine), takeover: p.takeover(mine)}, &inflater{window: p.window(theirs), takeover: p.takeover(theirs)}
}

func (p *rawPeer) takeover(side string) bool {
	return !strings.Contains(p.extensions, side+"_no_context_takeover")
}

func (p *rawPeer) window(side string) int {
	bits := 15
	if _, value, ok := strings.Cut(p.extensions, side+"_max_window_bits="); ok {
		value, _, _ = strings.Cut(value, ";")
		bits, _ = strconv.Atoi(value)
	}
	return 1 << bits
}

// readCompressed returns the next message, which may be compressed.
func (p *rawPeer) readCompressed(first byte, in *inflater) string {
	p.t.Helper()
	f, err := p.read()
	require.NoError(p.t, err)
	require.Equal(p.t, first|fin, f.first&^rsv1)
	if f.first&rsv1 == 0 {
		return f.payload
	}
	plain, err := in.message([]byte(f.payload))
	require.NoError(p.t, err)
	return string(plain)
}
