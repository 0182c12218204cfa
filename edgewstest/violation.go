package edgewstest

import (
	"strings"

	"github.com/edgews/edgews"
)

// Violation is a way in which a peer can break RFC 6455.
type Violation struct {
	Name    string
	Frames  []Frame           // the last one breaks the rule
	Code    edgews.StatusCode // with which the receiver fails the connection
	Section string            // of RFC 6455, as in [edgews.ProtocolError]; "" for a limit
}

// WrongMaskFrame returns a frame of a client that is not masked, or of a server that is masked: 1002.
func WrongMaskFrame() Frame { return TextFrame("x").WithWrongMask() }

// ReservedBitFrame returns a frame with RSV2, which no extension uses: 1002.
func ReservedBitFrame() Frame { return Frame{Fin: true, RSV: 2, Opcode: opBinary, Payload: "x"} }

// UnknownOpcodeFrame returns a frame with opcode 3, which is not defined: 1002.
func UnknownOpcodeFrame() Frame { return Frame{Fin: true, Opcode: 3} }

// OversizedPingFrame returns a ping of 126 bytes, one more than a control frame may have: 1002.
func OversizedPingFrame() Frame { return PingFrame(strings.Repeat("x", 126)) }

// LongLengthFrame returns a frame whose length is not in the fewest bytes: 1002.
func LongLengthFrame() Frame {
	return Frame{Fin: true, Opcode: opBinary, Payload: "x", Length: []byte{126, 0, 1}}
}

// InvalidUTF8Frame returns a text message that is not UTF-8: 1007.
func InvalidUTF8Frame() Frame { return TextFrame("\xc0\xaf") }

// Violations returns ways in which a client, or a server, can break the protocol: masks, reserved bits and opcodes, lengths, control frames,
// fragments, Close frames and UTF-8. A receiver without compression, and with the default limits, answers each with a Close that has the
// code. The peer has no message under way when it sends the frames.
//
//	for _, v := range edgewstest.Violations() {
//		t.Run(v.Name, func(t *testing.T) {
//			p := edgewstest.New(t, handler()).DialPeer("/", nil)
//			p.Write(v.Frames...)
//			p.ExpectClose(v.Code)
//		})
//	}
func Violations() []Violation {
	const (
		protocol = edgews.StatusProtocolError
		utf8     = edgews.StatusInvalidFramePayloadData
		tooBig   = edgews.StatusMessageTooBig
	)
	one := func(f Frame) []Frame { return []Frame{f} }
	reserved := func(bit uint8) []Frame { return one(Frame{Fin: true, RSV: bit, Opcode: opBinary, Payload: "x"}) }
	opcode := func(op uint8) []Frame { return one(Frame{Fin: true, Opcode: op}) }
	sized := func(length ...byte) []Frame { return one(Frame{Fin: true, Opcode: opBinary, Length: length}) }
	return []Violation{
		{"wrong mask", one(WrongMaskFrame()), protocol, "RFC 6455 §5.1"},
		{"RSV1 without compression", reserved(4), protocol, "RFC 6455 §5.2"},
		{"RSV2", one(ReservedBitFrame()), protocol, "RFC 6455 §5.2"},
		{"RSV3", reserved(1), protocol, "RFC 6455 §5.2"},
		{"opcode 3", one(UnknownOpcodeFrame()), protocol, "RFC 6455 §5.2"},
		{"opcode 7", opcode(7), protocol, "RFC 6455 §5.2"},
		{"opcode 11", opcode(11), protocol, "RFC 6455 §5.2"},
		{"opcode 15", opcode(15), protocol, "RFC 6455 §5.2"},
		{"16 bits for 1", one(LongLengthFrame()), protocol, "RFC 6455 §5.2"},
		{"16 bits for 125", sized(126, 0, 125), protocol, "RFC 6455 §5.2"},
		{"64 bits for 65535", sized(127, 0, 0, 0, 0, 0, 0, 0xff, 0xff), protocol, "RFC 6455 §5.2"},
		{"2^63 bytes", sized(127, 0x80, 0, 0, 0, 0, 0, 0, 0), protocol, "RFC 6455 §5.2"},
		{"2^63-1 bytes", sized(127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), tooBig, ""},
		{"ping of 126 bytes", one(OversizedPingFrame()), protocol, "RFC 6455 §5.5"},
		{"ping in fragments", one(PingFrame("x").More()), protocol, "RFC 6455 §5.5"},
		{"compressed ping", one(Frame{Fin: true, RSV: 4, Opcode: opPing}), protocol, "RFC 6455 §5.2"},
		{"continuation of nothing", one(ContinuationFrame("x")), protocol, "RFC 6455 §5.4"},
		{"message inside a message", []Frame{TextFrame("x").More(), TextFrame("y")}, protocol, "RFC 6455 §5.4"},
		{"Close of one byte", one(Frame{Fin: true, Opcode: opClose, Payload: "x"}), protocol, "RFC 6455 §5.5.1"},
		{"Close with 999", one(CloseFrame(999, "")), protocol, "RFC 6455 §7.4"},
		{"Close with 1005", one(CloseFrame(1005, "")), protocol, "RFC 6455 §7.4"},
		{"Close with 1006", one(CloseFrame(1006, "")), protocol, "RFC 6455 §7.4"},
		{"Close with 1016", one(CloseFrame(1016, "")), protocol, "RFC 6455 §7.4"},
		{"Close with 2999", one(CloseFrame(2999, "")), protocol, "RFC 6455 §7.4"},
		{"Close with 65535", one(CloseFrame(65535, "")), protocol, "RFC 6455 §7.4"},
		{"Close with a reason that is not UTF-8", one(CloseFrame(1000, "\xff")), utf8, "RFC 6455 §8.1"},
		{"text that is not UTF-8", one(InvalidUTF8Frame()), utf8, "RFC 6455 §8.1"},
		{"text that ends in the middle of a character", []Frame{TextFrame("\xe2").More(), ContinuationFrame("\x82")}, utf8, "RFC 6455 §8.1"},
		{"text that is proved wrong before it ends", one(TextFrame("\xed\xa0").More()), utf8, "RFC 6455 §8.1"},
	}
}
