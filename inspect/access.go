package inspect

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

var (
	errUnauthorized = errors.New("edgews: inspect: Options.Authorize has refused the request")
	errNotLoopback  = errors.New("edgews: inspect: the request is not from this machine; set Options.Authorize to admit others")
	errForeignHost  = errors.New("edgews: inspect: the Host of the request is not this machine, such as localhost; set Options.Authorize to admit others")
	errForwarded    = errors.New("edgews: inspect: a proxy has forwarded the request; set Options.Authorize to admit those")
)

// admit returns nil if the request may be answered.
func (i *Inspector) admit(r *http.Request) error {
	if i.opts.Authorize == nil {
		return admitLocal(r)
	}
	if !i.opts.Authorize(r) {
		return errUnauthorized
	}
	return nil
}

// admitLocal admits requests of this machine that were not forwarded. The Host is checked because the page of another site may have a name
// that resolves to this machine.
func admitLocal(r *http.Request) error {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	switch {
	case err != nil || !peer.Addr().Unmap().IsLoopback():
		return errNotLoopback
	case isForwarded(r):
		return errForwarded
	case !isLocalHost(r.Host):
		return errForeignHost
	}
	return nil
}

// isLocalHost reports whether a Host is this machine.
func isLocalHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// forwardedFields are fields that proxies add, in lower case, besides those that begin with X-Forwarded.
var forwardedFields = map[string]bool{
	"forwarded": true, "via": true, "x-real-ip": true, "x-client-ip": true, "x-cluster-client-ip": true, "true-client-ip": true,
	"cf-connecting-ip": true, "cf-ray": true, "cdn-loop": true, "fastly-client-ip": true, "fly-client-ip": true, "x-appengine-user-ip": true,
	"x-azure-clientip": true, "x-envoy-external-address": true, "x-envoy-internal": true, "x-original-forwarded-for": true,
	"x-original-host": true, "x-proxyuser-ip": true, "x-remote-ip": true, "x-remote-addr": true, "x-request-start": true,
	"proxy-connection": true,
}

// isForwarded reports whether a proxy has forwarded the request, as far as it shows. No browser speaks HTTP/1.0, but some proxies do by default.
func isForwarded(r *http.Request) bool {
	for name := range r.Header {
		name = strings.ToLower(name)
		if forwardedFields[name] || strings.HasPrefix(name, "x-forwarded") {
			return true
		}
	}
	return !r.ProtoAtLeast(1, 1)
}
