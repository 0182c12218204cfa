package inspect

import (
	"cmp"
	"context"
	"fmt"

	"github.com/edgews/edgews"
)

// registerActions registers the calls that change something.
func (i *Inspector) registerActions() {
	action(i, CallClose, i.closeSocket)
	action(i, CallSend, i.sendMessage)
	action(i, CallHibernate, func(ctx context.Context, q ObjectQuery, e *LogEntry) error {
		return i.onObject(q, e, func(k objectKey) error { return k.namespace.Hibernate(ctx, k.id) })
	})
	action(i, CallRunAlarm, func(ctx context.Context, q ObjectQuery, e *LogEntry) error {
		return i.onObject(q, e, func(k objectKey) error { return k.namespace.RunAlarm(ctx, k.id) })
	})
}

// action registers an action, which describes in the entry what it is done to.
func action[Req any](i *Inspector, call string, fn func(context.Context, Req, *LogEntry) error) {
	handle(i, call, func(ctx context.Context, req Req) (Done, error) {
		if !i.opts.AllowActions {
			return Done{}, &edgews.CallError{Code: CodeForbidden, Message: "edgews: inspect: actions are not allowed: inspect.Options.AllowActions is not set"}
		}
		e := LogEntry{Kind: "action", Text: call}
		err := fn(ctx, req, &e)
		i.logAction(ctx, e, err)
		return Done{}, failed(err)
	})
}

// logAction logs an action and its error, if it has failed.
func (i *Inspector) logAction(ctx context.Context, e LogEntry, err error) {
	by := "unknown"
	if v := viewerOf(ctx); v != nil {
		by = v.socket.RemoteAddr().String()
	}
	e.Text += " by " + by
	if err != nil {
		e.Text += ": " + err.Error()
	}
	i.log.add(e)
	attrs := []any{"action", escape(e.Text, maxLogText)}
	if e.Socket != 0 {
		attrs = append(attrs, "socket", e.Socket)
	}
	if e.Object != "" {
		attrs = append(attrs, "namespace", e.Namespace, "object", e.Object)
	}
	i.logger().Info("edgews: inspect: an operator has acted", attrs...)
}

// onSocket calls fn for an open socket.
func (i *Inspector) onSocket(id uint64, e *LogEntry, fn func(*edgews.Socket) error) error {
	e.Socket = id
	r := i.sockets.get(id)
	if r == nil {
		return notFound("no open socket has the id %d", id)
	}
	info := r.socket.Info()
	e.Remote, e.Path = info.Remote.String(), info.Path
	return fn(r.socket)
}

func (i *Inspector) closeSocket(_ context.Context, req CloseRequest, e *LogEntry) error {
	if req.Code < 0 || req.Code > 4999 {
		return badRequest("%d is no close code", req.Code)
	}
	code := cmp.Or(edgews.StatusCode(req.Code), edgews.StatusGoingAway)
	e.Text = fmt.Sprintf("close with %v %q", code, req.Reason)
	return i.onSocket(req.Socket, e, func(s *edgews.Socket) error { return s.Close(code, req.Reason) })
}

func (i *Inspector) sendMessage(_ context.Context, req SendRequest, e *LogEntry) error {
	if req.Text != "" && req.Base64 != nil {
		return badRequest("a message has text or base64, not both")
	}
	e.Text = fmt.Sprintf("send %d bytes", len(req.Text)+len(req.Base64))
	return i.onSocket(req.Socket, e, func(s *edgews.Socket) error {
		if req.Base64 != nil {
			return s.SendBytes(req.Base64)
		}
		return s.Send(req.Text)
	})
}

// onObject calls fn for an object.
func (i *Inspector) onObject(q ObjectQuery, e *LogEntry, fn func(objectKey) error) error {
	e.Namespace, e.Object = q.Namespace, escape(q.Object, maxName)
	k, err := i.resolve(q)
	if err != nil {
		return err
	}
	e.Object, e.Name = k.id.String(), k.id.Name()
	return fn(k)
}
