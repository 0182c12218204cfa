package frame

import (
	"encoding/binary"
	"unicode/utf8"
)

// statusNoCode stands for a Close frame without a status code (RFC 6455 §7.1.5). It is never sent.
const statusNoCode = 1005

// ParseClose reads the payload of a Close frame. If the payload is empty, code is 1005. reason is a slice of payload; err is an
// [*Error].
func ParseClose(payload []byte) (code uint16, reason []byte, err error) {
	if len(payload) == 0 {
		return statusNoCode, nil, nil
	}
	if len(payload) == 1 {
		return 0, nil, protocolError("§5.5.1", "close frame has half a status code: 1 byte of payload")
	}
	code, reason = binary.BigEndian.Uint16(payload), payload[2:]
	if !ReceivableCode(code) {
		return 0, nil, protocolError("§7.4", "close frame has status code %d, which must not be sent", code)
	}
	if !utf8.Valid(reason) {
		return 0, nil, newError(statusInvalidPayload, "§8.1", "reason of the close frame is not valid UTF-8")
	}
	return code, reason, nil
}

// AppendClosePayload appends the payload of a Close frame. Code 0 means no status code and appends nothing. The caller makes sure
// that the code may be sent and that the reason is UTF-8 of at most [MaxControl]-2 bytes.
func AppendClosePayload(dst []byte, code uint16, reason string) []byte {
	if code == 0 {
		return dst
	}
	return append(binary.BigEndian.AppendUint16(dst, code), reason...)
}

// ReceivableCode reports whether a peer may send code: the codes of RFC 6455 §7.4.1 that may appear in a Close frame, those that
// IANA has registered since (1012 to 1014), and the ranges for libraries (3000 to 3999) and applications (4000 to 4999).
func ReceivableCode(code uint16) bool {
	switch {
	case code < 1000, code > 4999:
		return false
	case code >= 3000:
		return true
	}
	return code <= 1003 || 1007 <= code && code <= 1014
}
