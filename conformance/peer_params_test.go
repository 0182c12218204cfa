package conformance

import (
	"fmt"
	"strings"

	"github.com/edgews/edgews"
)

// deflateParams are the parameters of permessage-deflate that one side asks for; 0 bits: not stated.
type deflateParams struct {
	off                    bool
	serverAlone            bool // server_no_context_takeover
	clientAlone            bool // client_no_context_takeover
	serverBits, clientBits int
}

// allDeflateParams returns no parameters, each one alone, and all at once.
func allDeflateParams() []deflateParams {
	list := []deflateParams{
		{off: true}, {}, {serverAlone: true}, {clientAlone: true}, {serverAlone: true, clientAlone: true},
		{serverAlone: true, clientAlone: true, serverBits: 9, clientBits: 9},
		{serverBits: 10, clientBits: 10},
	}
	if raceEnabled {
		return list // with the race detector, the windows in between are not worth the time
	}
	for bits := 8; bits <= 15; bits++ {
		list = append(list, deflateParams{serverBits: bits}, deflateParams{clientBits: bits})
	}
	return list
}

func (d deflateParams) String() string {
	if d.off {
		return "off"
	}
	return fmt.Sprintf("alone=%t,%t/bits=%d,%d", d.serverAlone, d.clientAlone, d.serverBits, d.clientBits)
}

// node returns the perMessageDeflate option of ws.
func (d deflateParams) node() any {
	if d.off {
		return false
	}
	o := map[string]any{"threshold": 0}
	setIf(o, "serverNoContextTakeover", d.serverAlone, true)
	setIf(o, "clientNoContextTakeover", d.clientAlone, true)
	setIf(o, "serverMaxWindowBits", d.serverBits != 0, d.serverBits)
	setIf(o, "clientMaxWindowBits", d.clientBits != 0, d.clientBits)
	return o
}

// python returns the arguments of websockets' permessage-deflate factories.
func (d deflateParams) python() any {
	if d.off {
		return nil
	}
	o := map[string]any{}
	setIf(o, "server_no_context_takeover", d.serverAlone, true)
	setIf(o, "client_no_context_takeover", d.clientAlone, true)
	setIf(o, "server_max_window_bits", d.serverBits != 0, d.serverBits)
	setIf(o, "client_max_window_bits", d.clientBits != 0, d.clientBits)
	return o
}

func setIf(o map[string]any, key string, when bool, value any) {
	if when {
		o[key] = value
	}
}

// stated returns the parameters as text in a handshake.
func (d deflateParams) stated() (list []string) {
	add := func(when bool, format string, args ...any) {
		if when {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	add(d.serverAlone, "server_no_context_takeover")
	add(d.clientAlone, "client_no_context_takeover")
	add(d.serverBits != 0, "server_max_window_bits=%d", d.serverBits)
	add(d.clientBits != 0, "client_max_window_bits=%d", d.clientBits)
	return list
}

// agreedIn reports whether extensions contains what d asks for.
func (d deflateParams) agreedIn(extensions string) bool {
	if d.off {
		return extensions == ""
	}
	for _, s := range d.stated() {
		if !strings.Contains(extensions, s) {
			return false
		}
	}
	return strings.HasPrefix(extensions, "permessage-deflate")
}

// client returns d as options of an edgews client.
func (d deflateParams) client() edgews.Options {
	c := &edgews.Compression{
		Disable: d.off, Threshold: 1,
		NoContextTakeover: d.clientAlone, PeerNoContextTakeover: d.serverAlone,
		WindowBits: 15, PeerWindowBits: 15,
	}
	if d.clientBits != 0 {
		c.WindowBits = d.clientBits
	}
	if d.serverBits != 0 {
		c.PeerWindowBits = d.serverBits
	}
	return edgews.Options{Compression: c}
}

// wideOptions are options with which edgews agrees to any parameters of the peer.
var wideOptions = deflateParams{}.client()

// peerSizes are the sizes at which the form of a frame changes, and some large ones.
var peerSizes = []int{1, 2, 125, 126, 127, 1000, 65535, 65536, 300_000}

// hugeSize is the largest message.
var hugeSize = func() int {
	if raceEnabled {
		return 2 * mib
	}
	return 16 * mib
}()
