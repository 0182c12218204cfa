package conformance

import (
	"slices"
	"strings"
)

// Sections 1 to 5: frames.

const (
	octets     = 1 // chop: octet by octet
	hello      = "Hello, world!"
	nonUTF8    = "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
	brokenRule = 1002
)

func stars(n int) string   { return strings.Repeat("*", n) }
func bytesFE(n int) string { return strings.Repeat("\xfe", n) }

func frames(f ...rawFrame) []rawFrame { return f }

// echoed is a case in which a message is echoed.
func echoed(id string, chop int, f rawFrame) autobahnCase {
	return autobahnCase{id, chop, frames(f), frames(f), closedByPeer}
}

var framing = []autobahnCase{
	echoed("1.1.1", 0, text("")),
	echoed("1.1.2", 0, text(stars(125))),
	echoed("1.1.3", 0, text(stars(126))),
	echoed("1.1.4", 0, text(stars(127))),
	echoed("1.1.5", 0, text(stars(128))),
	echoed("1.1.6", 0, text(stars(65535))),
	echoed("1.1.7", 0, text(stars(65536))),
	echoed("1.1.8", 997, text(stars(65536))),
	echoed("1.2.1", 0, binry("")),
	echoed("1.2.2", 0, binry(bytesFE(125))),
	echoed("1.2.3", 0, binry(bytesFE(126))),
	echoed("1.2.4", 0, binry(bytesFE(127))),
	echoed("1.2.5", 0, binry(bytesFE(128))),
	echoed("1.2.6", 0, binry(bytesFE(65535))),
	echoed("1.2.7", 0, binry(bytesFE(65536))),
	echoed("1.2.8", 997, binry(bytesFE(65536))),
}

var tenPings, tenPongs = tenOf(ping), tenOf(pong)

func tenOf(kind func(string) rawFrame) (f []rawFrame) {
	for i := range 10 {
		f = append(f, kind("payload-"+string(rune('0'+i))))
	}
	return f
}

var pings = []autobahnCase{
	{"2.1", 0, frames(ping("")), frames(pong("")), closedByPeer},
	{"2.2", 0, frames(ping(hello)), frames(pong(hello)), closedByPeer},
	{"2.3", 0, frames(ping(nonUTF8)), frames(pong(nonUTF8)), closedByPeer},
	{"2.4", 0, frames(ping(bytesFE(125))), frames(pong(bytesFE(125))), closedByPeer},
	{"2.5", 0, frames(ping(bytesFE(126))), nil, fails(brokenRule)},
	{"2.6", octets, frames(ping(bytesFE(125))), frames(pong(bytesFE(125))), closedByPeer},
	{"2.7", 0, frames(pong("")), nil, closedByPeer},
	{"2.8", 0, frames(pong("unsolicited")), nil, closedByPeer},
	{"2.9", 0, frames(pong("unsolicited"), ping("solicited")), frames(pong("solicited")), closedByPeer},
	{"2.10", 0, tenPings, tenPongs, closedByPeer},
	{"2.11", octets, tenPings, tenPongs, closedByPeer},
}

var reservedBits = []autobahnCase{
	{"3.1", 0, frames(text(hello).rsv(1)), nil, fails(brokenRule)},
	{"3.2", 0, frames(text(hello), text(hello).rsv(2), ping("")), frames(text(hello)), fails(brokenRule)},
	{"3.3", frameByFrame, frames(text(hello), text(hello).rsv(3), ping("")), frames(text(hello)), fails(brokenRule)},
	{"3.4", octets, frames(text(hello), text(hello).rsv(4), ping("")), frames(text(hello)), fails(brokenRule)},
	{"3.5", 0, frames(binry(nonUTF8).rsv(5)), nil, fails(brokenRule)},
	{"3.6", 0, frames(ping(hello).rsv(6)), nil, fails(brokenRule)},
	{"3.7", 0, frames(closing("").rsv(7)), nil, fails(brokenRule)},
}

var opcodes = []autobahnCase{
	{"4.1.1", 0, frames(op(3)), nil, fails(brokenRule)},
	{"4.1.2", 0, frames(op(4).with("reserved opcode payload")), nil, fails(brokenRule)},
	{"4.1.3", 0, frames(text(hello), op(5), ping("")), frames(text(hello)), fails(brokenRule)},
	{"4.1.4", 0, frames(text(hello), op(6).with(hello), ping("")), frames(text(hello)), fails(brokenRule)},
	{"4.1.5", octets, frames(text(hello), op(7).with(hello), ping("")), frames(text(hello)), fails(brokenRule)},
	{"4.2.1", 0, frames(op(11)), nil, fails(brokenRule)},
	{"4.2.2", 0, frames(op(12).with("reserved opcode payload")), nil, fails(brokenRule)},
	{"4.2.3", 0, frames(text(hello), op(13), ping("")), frames(text(hello)), fails(brokenRule)},
	{"4.2.4", 0, frames(text(hello), op(14).with(hello), ping("")), frames(text(hello)), fails(brokenRule)},
	{"4.2.5", octets, frames(text(hello), op(15).with(hello), ping("")), frames(text(hello)), fails(brokenRule)},
}

// Fragments of the cases of section 5.
var (
	inTwo      = frames(text("fragment1").more(), cont("fragment2"))
	joined     = frames(text("fragment1fragment2"))
	pingInside = frames(text("fragment1").more(), ping("ping payload"), cont("fragment2"))
	pongFirst  = frames(pong("ping payload"), text("fragment1fragment2"))

	stray     = cont("non-continuation payload") // without a message to continue
	strayFin  = frames(stray, text(hello))
	strayMore = frames(stray.more(), text(hello))

	// Each is sent twice, as in 5.16 and 5.17.
	strayMoreAndTwo = frames(cont("fragment1").more(), text("fragment2").more(), cont("fragment3"))
	strayAndTwo     = frames(cont("fragment1"), text("fragment2").more(), cont("fragment3"))

	// With two pings in between. 5.19 waits for the first pong before it goes on.
	inFiveStart = frames(text("fragment1").more(), cont("fragment2").more(), ping("pongme 1!"))
	inFiveRest  = frames(cont("fragment3").more(), cont("fragment4").more(), ping("pongme 2!"), cont("fragment5"))
	inFiveBack  = frames(pong("pongme 2!"), text("fragment1fragment2fragment3fragment4fragment5"))
)

var fragmentation = []autobahnCase{
	{"5.1", 0, frames(ping("fragment1").more(), cont("fragment2")), nil, fails(brokenRule)},
	{"5.2", 0, frames(pong("fragment1").more(), cont("fragment2")), nil, fails(brokenRule)},
	{"5.3", 0, inTwo, joined, closedByPeer},
	{"5.4", frameByFrame, inTwo, joined, closedByPeer},
	{"5.5", octets, inTwo, joined, closedByPeer},
	{"5.6", 0, pingInside, pongFirst, closedByPeer},
	{"5.7", frameByFrame, pingInside, pongFirst, closedByPeer},
	{"5.8", octets, pingInside, pongFirst, closedByPeer},
	{"5.9", 0, strayFin, nil, fails(brokenRule)},
	{"5.10", frameByFrame, strayFin, nil, fails(brokenRule)},
	{"5.11", octets, strayFin, nil, fails(brokenRule)},
	{"5.12", 0, strayMore, nil, fails(brokenRule)},
	{"5.13", frameByFrame, strayMore, nil, fails(brokenRule)},
	{"5.14", octets, strayMore, nil, fails(brokenRule)},
	{"5.15", 0, slices.Concat(inTwo, strayMore), joined, fails(brokenRule)},
	{"5.16", 0, slices.Concat(strayMoreAndTwo, strayMoreAndTwo), nil, fails(brokenRule)},
	{"5.17", 0, slices.Concat(strayAndTwo, strayAndTwo), nil, fails(brokenRule)},
	{"5.18", 0, frames(text("fragment1").more(), text("fragment2")), nil, fails(brokenRule)},
	{"5.20", octets, slices.Concat(inFiveStart, inFiveRest), slices.Concat(frames(pong("pongme 1!")), inFiveBack), closedByPeer},
}

var fragmentationWithWait = scripted{"5.19", func(p *rawPeer) {
	p.send(inFiveStart...)
	p.expect(pong("pongme 1!"))
	p.expectSilence()
	p.send(inFiveRest...)
	for _, f := range inFiveBack {
		p.expect(f)
	}
}, closedByPeer}
