package dialh2_test

//lint:file-ignore SA1019 net/http's Transport, which is to replace that of package http2, refuses the header field :protocol

import (
	"crypto/tls"
	"net/http"

	"golang.org/x/net/http2"
)

// connectTransport returns a transport that sends an extended CONNECT as it is.
func connectTransport(config *tls.Config) http.RoundTripper {
	return &http2.Transport{TLSClientConfig: config}
}
