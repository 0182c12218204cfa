package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/edgews/edgews"
)

// dialFlags are the flags of the commands that dial.
type dialFlags struct {
	headers, protocols list
	origin             string
	noCompression      bool
	skipVerify         bool
	timeout            time.Duration
}

func (d *dialFlags) define(fs *flag.FlagSet) {
	fs.Var(&d.headers, "H", "send this `header`, written as \"Name: value\"; may be repeated")
	fs.Var(&d.protocols, "protocol", "offer this `subprotocol`; may be repeated, the preferred one first")
	fs.StringVar(&d.origin, "origin", "", "send this `origin`, as pages of that site do")
	fs.BoolVar(&d.noCompression, "no-compression", false, "do not offer permessage-deflate")
	fs.BoolVar(&d.skipVerify, "insecure-skip-verify", false, "accept any certificate of the server: anyone on the way can read and change everything")
	fs.DurationVar(&d.timeout, "timeout", 30*time.Second, "how long the handshake may take")
}

// options returns the options for Dial, for up to conns connections that are being opened at the same time.
func (d *dialFlags) options() (*edgews.DialOptions, error) {
	opts := &edgews.DialOptions{Protocols: d.protocols, Header: http.Header{}}
	for _, h := range d.headers {
		name, value, found := strings.Cut(h, ":")
		if !found || name == "" {
			return nil, &usageError{err: fmt.Errorf("-H %s: a header is written as \"Name: value\"", quote(h))}
		}
		opts.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if d.origin != "" {
		opts.Header.Set("Origin", d.origin)
	}
	if d.timeout <= 0 {
		return nil, &usageError{err: errors.New("-timeout must be positive")}
	}
	opts.Compression = &edgews.Compression{Disable: d.noCompression}
	opts.HTTPClient = &http.Client{Transport: d.transport(), Timeout: d.timeout}
	return opts, nil
}

// transport returns what http.DefaultTransport is, with the certificates that the flags accept.
func (d *dialFlags) transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if d.skipVerify {
		t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // -insecure-skip-verify asks for it
	}
	return t
}

// isArgumentError reports whether err of Dial is about its arguments, and not about the connection or the answer.
func isArgumentError(err error) bool {
	if err == nil {
		return false
	}
	if u, ok := errors.AsType[*url.Error](err); ok && u.Op == "parse" {
		return true
	}
	h, ok := errors.AsType[*edgews.HandshakeError](err)
	return !ok || h.StatusCode == 0 && h.Err == nil
}

// refusal returns err, and what of resp tells why the server has refused.
func refusal(err error, resp *http.Response) error {
	if resp == nil {
		return err
	}
	if where := resp.Header.Get("Location"); where != "" {
		return fmt.Errorf("%w (Location: %s)", err, where)
	}
	if how := resp.Header.Get("WWW-Authenticate"); how != "" {
		return fmt.Errorf("%w (WWW-Authenticate: %s)", err, how)
	}
	return err
}
