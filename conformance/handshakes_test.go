package conformance_test

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Handshakes are compared in a normal form: names in lower case, sorted, without headers that always differ.

func acceptFor(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// normalHeaders writes recorded header lines in the normal form.
func normalHeaders(lines []string) string {
	var normal []string
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		name = strings.ToLower(name)
		switch name {
		case "date", "user-agent", "accept-encoding":
			continue
		case "sec-websocket-extensions":
			value = sortedParams(value)
		}
		normal = append(normal, name+": "+value)
	}
	slices.Sort(normal)
	return strings.Join(normal, " | ")
}

// headerLines returns the lines of h. key is the request's Sec-WebSocket-Key.
func headerLines(h http.Header, key string) []string {
	var lines []string
	for name, values := range h {
		for _, v := range values {
			if strings.EqualFold(name, "Sec-WebSocket-Accept") && v == acceptFor(key) {
				v = "<correct>"
			}
			lines = append(lines, name+": "+v)
		}
	}
	return lines
}

// sortedParams sorts the parameters of an extension, whose order has no meaning (RFC 7692 §5).
func sortedParams(extension string) string {
	parts := strings.Split(extension, "; ")
	if len(parts) > 1 {
		slices.Sort(parts[1:])
	}
	return strings.Join(parts, "; ")
}

// describeAnswer describes the answer to an upgrade request. Of a refusal it has only the status and the versions, since the rest are
// texts of net/http and edgews.
func describeAnswer(status int, headers []string, body string, ours bool) string {
	if status == http.StatusSwitchingProtocols {
		return "http 101 " + normalHeaders(headers)
	}
	if ours {
		body = ""
	}
	version := ""
	for _, h := range headers {
		if name, v, _ := strings.Cut(h, ": "); strings.EqualFold(name, "Sec-WebSocket-Version") {
			version = " for version " + v
		}
	}
	return strings.TrimSpace(fmt.Sprintf("http %d%s %s", status, version, body))
}
