package edgewsh2_test

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	_ "github.com/edgews/edgews/edgewsh2"
)

// connectProtocolSetting is SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 §3).
const connectProtocolSetting = 8

// TestServerAnnouncesExtendedConnect shows that the import has come before the initialisation of net/http.
func TestServerAnnouncesExtendedConnect(t *testing.T) {
	require.Equal(t, uint32(1), serverSettings(t)[connectProtocolSetting],
		"%s: net/http does not announce the extended CONNECT. Either it is initialised before internal/extendedconnect, or this version of Go does not read"+
			" http2xconnect from GODEBUG any more: look for EnableConnectProtocol in http.HTTP2Config, and change internal/extendedconnect and the"+
			" documentation of edgewsh2", runtime.Version())
}

// A user who switches the extended CONNECT off in the environment has the last word.
func TestEnvironmentSwitchesExtendedConnectOff(t *testing.T) {
	if os.Getenv("GODEBUG") == "http2xconnect=0" {
		assert.NotContains(t, serverSettings(t), uint16(connectProtocolSetting))
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "GODEBUG=http2xconnect=0")
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", output)
}

// Other settings of GODEBUG are kept.
func TestOtherSettingsAreKept(t *testing.T) {
	if debug := os.Getenv("GODEBUG"); strings.HasPrefix(debug, "http2debug=0") {
		assert.Equal(t, "http2debug=0,http2xconnect=1", debug)
		assert.Contains(t, serverSettings(t), uint16(connectProtocolSetting))
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "GODEBUG=http2debug=0")
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", output)
}

// serverSettings returns the settings that an HTTP/2 server of net/http announces.
func serverSettings(t *testing.T) map[uint16]uint32 {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	conn, err := tls.Dial("tcp", server.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00") // the preface and empty settings
	require.NoError(t, err)
	for {
		var header [9]byte
		_, err := io.ReadFull(conn, header[:])
		require.NoError(t, err)
		payload := make([]byte, int(header[0])<<16|int(header[1])<<8|int(header[2]))
		_, err = io.ReadFull(conn, payload)
		require.NoError(t, err)
		if header[3] != 4 { // SETTINGS
			continue
		}
		settings := make(map[uint16]uint32)
		for ; len(payload) >= 6; payload = payload[6:] {
			settings[binary.BigEndian.Uint16(payload)] = binary.BigEndian.Uint32(payload[2:])
		}
		return settings
	}
}
