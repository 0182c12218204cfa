package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/edgews/edgews"
)

var proxyCommand = &command{
	name:    "proxy",
	args:    "TARGET",
	summary: "a proxy that passes WebSockets and other requests on to a server",
	help: `
TARGET is a URL with the scheme ws, wss, http or https; the path of a request is appended to its path. The target answers the handshake, and from
then on bytes pass both ways as they are. By default only this machine can connect.

The target gets its own name as Host, and the Origin of the client: a target that compares the two refuses pages, unless -keep-host is set.
The proxy itself checks no origins: the target decides which sites may connect.`,
	examples: []string{
		"edgews proxy -addr localhost:9000 ws://localhost:8080",
		"edgews proxy -addr :443 -cert cert.pem -key key.pem -keep-host http://10.0.0.7:8080",
	},
	least: 1, greatest: 1,
	setup: func(fs *flag.FlagSet) runner {
		p := new(proxy)
		p.define(fs)
		return p.run
	},
}

// proxy is the command proxy with its flags.
type proxy struct {
	serveFlags
	keepHost   bool
	skipVerify bool
	idle       time.Duration
	timeout    time.Duration
}

func (p *proxy) define(fs *flag.FlagSet) {
	p.serveFlags.define(fs)
	fs.BoolVar(&p.keepHost, "keep-host", false, "send the Host of the client to the target, not the target's")
	fs.BoolVar(&p.skipVerify, "insecure-skip-verify", false, "accept any certificate of the target: anyone on the way can read and change everything")
	fs.DurationVar(&p.idle, "idle-timeout", 0, "reset connections on which no byte has moved for so long; 0: never")
	fs.DurationVar(&p.timeout, "timeout", 30*time.Second, "how long the handshake with the target may take")
}

// run serves until ctx ends. Connections that are open then end with the process.
func (p *proxy) run(ctx context.Context, e *env, args []string) error {
	target, err := url.Parse(args[0])
	if err != nil {
		return &usageError{err: err}
	}
	switch target.Scheme {
	case "ws", "wss", "http", "https":
	default:
		return &usageError{err: &url.Error{Op: "target", URL: target.Redacted(), Err: errScheme}}
	}
	if target.Host == "" {
		return &usageError{err: &url.Error{Op: "target", URL: target.Redacted(), Err: errHost}}
	}
	return p.serve(ctx, e, edgews.Proxy(args[0], p.options(e)), "proxy for "+escape(target.Redacted(), onOneLine), func(context.Context) {})
}

// options returns the options of the proxy. Its transport keeps the client out of the proxies of the environment, as http.DefaultTransport
// would not: TARGET is where the user wants it to connect to.
func (p *proxy) options(e *env) *edgews.ProxyOptions {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	if p.skipVerify {
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // -insecure-skip-verify asks for it
	}
	opts := &edgews.ProxyOptions{IdleTimeout: p.idle, HTTPClient: &http.Client{Transport: transport, Timeout: p.timeout}}
	if !p.quiet {
		opts.Logger = slog.New(slog.NewTextHandler(e.stderr, nil))
	}
	if p.keepHost {
		opts.Rewrite = func(r *httputil.ProxyRequest) { r.Out.Host = r.In.Host }
	}
	return opts
}

var (
	errScheme = errors.New("the scheme must be ws, wss, http or https")
	errHost   = errors.New("it has no host")
)
