package frame

import (
	"encoding/binary"
	"unicode/utf8"
)

// noStatus is the code of a Close frame without one (RFC 6455 §7.1.5). It never travels.
const noStatus = 1005

// ParseClose reads the payload of a Close frame. An empty one has code 1005. reason is a slice of payload,
// and err an [*Error].
func ParseClose(payload []byte) (code uint16, reason []byte, err error) {
	if len(payload) == 0 {
		return noStatus, nil, nil
	}
	if len(payload) == 1 {
		return 0, nil, violation("§5.5.1", "close frame has half a status code: 1 byte of payload")
	}
	code, reason = binary.BigEndian.Uint16(payload), payload[2:]
	if !ReceivableCode(code) {
		return 0, nil, violation("§7.4", "close frame has status code %d, which must not be sent", code)
	}
	if !utf8.Valid(reason) {
		return 0, nil, newError(codeInvalidPayload, "§8.1", "reason of the close frame is not valid UTF-8")
	}
	return code, reason, nil
}

// AppendClosePayload appends what [ParseClose] reads. Code 0 is a Close frame without a status code, and
// appends nothing. It is for the caller to see that the code may be sent and that the reason has at most
// [MaxControl]-2 bytes of UTF-8.
func AppendClosePayload(dst []byte, code uint16, reason string) []byte {
	if code == 0 {
		return dst
	}
	return append(binary.BigEndian.AppendUint16(dst, code), reason...)
}

// ReceivableCode reports whether a peer may send code: those of RFC 6455 §7.4.1 that travel, those
// registered with IANA since (1012 to 1014), and the ranges for libraries (3000) and applications (4000).
func ReceivableCode(code uint16) bool {
	switch {
	case code < 1000, code > 4999:
		return false
	case code >= 3000:
		return true
	}
	return code <= 1003 || 1007 <= code && code <= 1014
}
