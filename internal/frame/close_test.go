package frame

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReceivableCode(t *testing.T) {
	tests := []struct {
		name     string
		from, to uint16
		want     bool
	}{
		{"unused", 0, 999, false},
		{"defined", 1000, 1003, true},
		{"reserved, or never sent", 1004, 1006, false},
		{"defined and registered", 1007, 1014, true},
		{"never sent, or unassigned", 1015, 2999, false},
		{"libraries and applications", 3000, 4999, true},
		{"out of range", 5000, 65534, false},
		{"largest", 65535, 65535, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for code := int(test.from); code <= int(test.to); code++ {
				require.Equal(t, test.want, ReceivableCode(uint16(code)), code)
			}
		})
	}
}

func TestParseClose(t *testing.T) {
	tests := []struct {
		name    string
		payload string
		code    uint16
		reason  string
		err     *Error
	}{
		{"empty", "", 1005, "", nil},
		{"code", "\x03\xe8", 1000, "", nil},
		{"reason", "\x03\xe9deploy", 1001, "deploy", nil},
		{"reason beyond ASCII", "\x0f\xa0привет", 4000, "привет", nil},
		{"one byte", "\x03", 0, "", &Error{1002, "RFC 6455 §5.5.1",
			"close frame has half a status code: 1 byte of payload"}},
		{"code that is not sent", "\x03\xed", 0, "", &Error{1002, "RFC 6455 §7.4",
			"close frame has status code 1005, which must not be sent"}},
		{"reason not UTF-8", "\x03\xe8\xff", 0, "", &Error{1007, "RFC 6455 §8.1",
			"reason of the close frame is not valid UTF-8"}},
		{"reason cut", "\x03\xe8\xd0", 0, "", &Error{1007, "RFC 6455 §8.1",
			"reason of the close frame is not valid UTF-8"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			code, reason, err := ParseClose([]byte(test.payload))
			require.Equal(t, test.code, code)
			require.Equal(t, test.reason, string(reason))
			if test.err == nil {
				require.NoError(t, err)
				return
			}
			require.Equal(t, test.err, err)
		})
	}
}

func TestAppendClosePayload(t *testing.T) {
	require.Empty(t, AppendClosePayload(nil, 0, "ignored"))
	require.Equal(t, "x\x03\xe8", string(AppendClosePayload([]byte("x"), 1000, "")))
	require.Equal(t, "\x0f\xa0bye", string(AppendClosePayload(nil, 4000, "bye")))
}
