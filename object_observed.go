package edgews

import "net/http"

// observer returns own, the Observer of the socket's options, or that of the namespace.
func (sock *objectSocket) observer(own Observer) Observer { return sock.o.ns.observerOr(own) }

// observer returns own, the Observer of the socket's options, or that of the namespace.
func (p *pinnedSocket) observer(own Observer) Observer { return p.o.ns.observerOr(own) }

func (n *Namespace) observerOr(own Observer) Observer {
	if own != nil {
		return own
	}
	return n.opts.Options.Observer
}

// tellRefusal tells the Observer of the namespace that r was refused with status, if r is a request to upgrade.
func (n *Namespace) tellRefusal(r *http.Request, status int, err error) {
	if observer := n.opts.Options.Observer; observer != nil && IsUpgrade(r) {
		n.opts.Options.tellRefused(RefusalObservation{Request: r, Status: status, Cause: refusalCause(err), Err: err})
	}
}
