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

// serverFlags say how a server is reached.
type serverFlags struct {
	headers    list
	skipVerify bool
	timeout    time.Duration
}

func (f *serverFlags) define(fs *flag.FlagSet) {
	fs.Var(&f.headers, "H", "send this `header`, written as \"Name: value\"; may be repeated")
	fs.BoolVar(&f.skipVerify, "insecure-skip-verify", false, "accept any certificate of the server: anyone on the way can read and change everything")
	fs.DurationVar(&f.timeout, "timeout", 30*time.Second, "how long the handshake may take; for inspect also each answer")
}

// options returns the options for Dial.
func (f *serverFlags) options() (*edgews.DialOptions, error) {
	opts := &edgews.DialOptions{Header: http.Header{}}
	for _, h := range f.headers {
		name, value, found := strings.Cut(h, ":")
		if !found || name == "" {
			return nil, &usageError{err: fmt.Errorf("-H %s: a header is written as \"Name: value\"", quote(h))}
		}
		opts.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if f.timeout <= 0 {
		return nil, &usageError{err: errors.New("-timeout must be positive")}
	}
	opts.HTTPClient = &http.Client{Transport: f.transport(), Timeout: f.timeout}
	return opts, nil
}

// dialFlags are the flags of the commands that talk to a server as a client does.
type dialFlags struct {
	serverFlags
	protocols     list
	origin        string
	noCompression bool
}

func (d *dialFlags) define(fs *flag.FlagSet) {
	d.serverFlags.define(fs)
	fs.Var(&d.protocols, "protocol", "offer this `subprotocol`; may be repeated, the preferred one first")
	fs.StringVar(&d.origin, "origin", "", "send this `origin`, as pages of that site do")
	fs.BoolVar(&d.noCompression, "no-compression", false, "do not offer permessage-deflate")
}

// options returns the options for Dial.
func (d *dialFlags) options() (*edgews.DialOptions, error) {
	opts, err := d.serverFlags.options()
	if err != nil {
		return nil, err
	}
	if d.origin != "" {
		opts.Header.Set("Origin", d.origin)
	}
	opts.Protocols, opts.Compression = d.protocols, &edgews.Compression{Disable: d.noCompression}
	return opts, nil
}

// transport returns what http.DefaultTransport is, with the certificates that the flags accept.
func (f *serverFlags) transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if f.skipVerify {
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
