package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/edgews/edgews"
)

// awaits are the verbs that are asynchronous in JavaScript.
var awaits = map[string]bool{"wait": true, "block": true, "putWait": true, "alarm": true}

type verb func(r *room, ctx context.Context, s *edgews.Socket, op operation) error

// plain is a verb that cannot fail.
func plain(do func(r *room, s *edgews.Socket, op operation)) verb {
	return func(r *room, _ context.Context, s *edgews.Socket, op operation) error {
		do(r, s, op)
		return nil
	}
}

// roomVerbs are the operations of a room.
var roomVerbs map[string]verb

func init() {
	roomVerbs = map[string]verb{
		"send":  plain(func(r *room, s *edgews.Socket, op operation) { r.p.actor(s).send(op.text(1)) }),
		"close": plain(func(r *room, s *edgews.Socket, op operation) { r.p.actor(s).close(op.number(1), op.text(2)) }),
		"rs":    plain(func(r *room, s *edgews.Socket, op operation) { r.p.actor(s).get("readyState") }),
		"note":  plain(func(r *room, s *edgews.Socket, op operation) { r.note("%s", op.text(1)) }),
		"sendfill": plain(func(r *room, s *edgews.Socket, op operation) {
			r.p.actor(s).sendBytes(bytes.Repeat([]byte("a"), op.number(1)))
		}),
		"broadcast": plain(func(r *room, s *edgews.Socket, op operation) {
			for _, to := range r.st.WebSockets() {
				r.p.actor(to).send(op.text(1))
			}
		}),
		"listen":    plain((*room).listen),
		"set":       plain(func(*room, *edgews.Socket, operation) {}), // binaryType, which does not exist in Go
		"keepWs":    plain((*room).keepSocket),
		"closeKept": plain((*room).closeKept),

		"sockets": plain((*room).sockets),
		"tags": plain(func(r *room, s *edgews.Socket, op operation) {
			tags, _ := r.st.Tags(s)
			r.recordResult("getTags("+r.p.nameOf(s)+")", tags)
		}),
		"same": plain(func(r *room, s *edgews.Socket, op operation) {
			r.note("handler socket is one of getWebSockets(): %v", slices.Contains(r.st.WebSockets(), s))
		}),
		"props": plain(func(r *room, s *edgews.Socket, op operation) {
			r.note("%s props: [%d %q %q %q]", r.p.nameOf(s), s.ReadyState(), s.URL(), s.Protocol(), s.Extensions())
		}),
		"attached": plain(func(r *room, s *edgews.Socket, op operation) {
			var v json.RawMessage
			_ = s.Attachment(&v)
			r.recordResult(r.p.nameOf(s)+".deserializeAttachment()", v)
		}),
		"attach": plain(func(r *room, s *edgews.Socket, op operation) {
			r.recordResult(fmt.Sprintf("%s.serializeAttachment(%v)", r.p.nameOf(s), op[1]), s.SetAttachment(op[1]))
		}),

		"auto": plain(func(r *room, s *edgews.Socket, op operation) {
			err := r.st.SetAutoResponse(edgews.AutoResponse{Request: op.text(1), Response: op.text(2)})
			r.recordResult(fmt.Sprintf("setWebSocketAutoResponse(%q, %q)", op.text(1), op.text(2)), err)
		}),
		"autoUnset": plain(func(r *room, s *edgews.Socket, op operation) {
			r.recordResult("setWebSocketAutoResponse()", r.st.SetAutoResponse())
		}),
		"autoGet": plain(func(r *room, s *edgews.Socket, op operation) {
			r.note("getWebSocketAutoResponse() → %s", show(firstAuto(r.st)))
		}),
		"autoTs": plain(func(r *room, s *edgews.Socket, op operation) {
			r.note("getWebSocketAutoResponseTimestamp(%s) → %s", r.p.nameOf(s), show(timestamp(r.st, s)))
		}),
		"timeout": plain(func(r *room, s *edgews.Socket, op operation) {
			err := r.st.SetEventTimeout(time.Duration(op.number(1)) * time.Millisecond)
			r.recordResult(fmt.Sprintf("setHibernatableWebSocketEventTimeout(%d)", op.number(1)), err)
		}),
		"timeoutGet": plain(func(r *room, s *edgews.Socket, op operation) {
			r.recordResult("getHibernatableWebSocketEventTimeout()", r.st.EventTimeout().Milliseconds())
		}),

		"mem":   plain((*room).remember),
		"abort": plain(func(r *room, s *edgews.Socket, op operation) { r.st.Abort(errors.New(op.text(1))) }),
		"interval": plain(func(r *room, s *edgews.Socket, op operation) {
			r.st.WaitUntil(func(ctx context.Context) { <-ctx.Done() })
		}),
		"waitUntil": plain((*room).waitUntil),
		"outbound":  plain((*room).outbound),
		"timer": plain(func(r *room, s *edgews.Socket, op operation) {
			r.later(s, op.number(1), func() { r.note("timer fired: %s", op.text(2)) })
		}),
		"timerSend": plain(func(r *room, s *edgews.Socket, op operation) {
			r.later(s, op.number(1), func() { r.p.actor(s).send(op.text(2)) })
		}),

		"wait": func(r *room, ctx context.Context, s *edgews.Socket, op operation) error {
			return r.pause(ctx, s, op.number(1))
		},
		"throw": func(r *room, ctx context.Context, s *edgews.Socket, op operation) error {
			return fmt.Errorf("%w: %s", errThrown, op.text(1))
		},
		"block":   (*room).block,
		"put":     (*room).put,
		"putWait": (*room).put,
		"alarm":   (*room).setAlarm,
	}
}

// firstAuto returns the auto-response, of which Workers have one; nil: none.
func firstAuto(st *edgews.State) any {
	if pairs := st.AutoResponses(); len(pairs) > 0 {
		return pairs[0]
	}
	return nil
}

func timestamp(st *edgews.State, s *edgews.Socket) any {
	if t, ok := st.AutoResponseTimestamp(s); ok {
		return t
	}
	return nil
}

func (r *room) sockets(_ *edgews.Socket, op operation) {
	what, tags := "getWebSockets()", []string(nil)
	if len(op) > 1 {
		what, tags = fmt.Sprintf("getWebSockets(%q)", op.text(1)), []string{op.text(1)}
	}
	r.note("%s → %s", what, r.p.list(r.st.WebSockets(tags...)))
}

// list names sockets, with their states.
func (p *objectPlayer) list(sockets []*edgews.Socket) string {
	var names []string
	for _, s := range sockets {
		names = append(names, fmt.Sprintf("%s/%d", p.nameOf(s), s.ReadyState()))
	}
	return "[" + strings.Join(names, " ") + "]"
}

func (r *room) listen(s *edgews.Socket, _ operation) {
	s.OnMessage(func(edgews.MessageEvent) { r.note("a listener got a message") })
	s.OnClose(func(edgews.CloseEvent) { r.note("a listener got the close event") })
	s.OnError(func(edgews.ErrorEvent) { r.note("a listener got an error") })
	r.note("listeners added to %s", r.p.nameOf(s))
}

func (r *room) keepSocket(s *edgews.Socket, _ operation) {
	r.p.kept = s
	r.note("kept a reference to %s", r.p.nameOf(s))
}

func (r *room) closeKept(_ *edgews.Socket, op operation) {
	a := r.p.actor(r.p.kept)
	a.get("readyState")
	a.close(op.number(1), op.text(2))
	a.get("readyState")
}

func (r *room) remember(_ *edgews.Socket, op operation) {
	if len(op) > 1 {
		r.memory = op[1]
	}
	r.note("instance memory: %s", show(r.memory))
}

func (r *room) waitUntil(_ *edgews.Socket, op operation) {
	r.st.WaitUntil(func(ctx context.Context) {
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(op.number(1)) * time.Millisecond):
		}
	})
}

// outbound makes a pair of which the object uses both ends.
func (r *room) outbound(*edgews.Socket, operation) {
	one, other := edgews.NewPair()
	r.st.Hold(one)
	_, _ = one.Accept(), other.Accept()
	r.note("opened an in-memory pair, both ends accepted")
}

// block is blockConcurrencyWhile, which in Go is an event that takes some time.
func (r *room) block(ctx context.Context, s *edgews.Socket, op operation) error {
	name := "block"
	if !r.built {
		name = "blockConcurrencyWhile"
	}
	r.note("%s start", name)
	err := r.pause(ctx, s, op.number(1))
	r.note("%s end", name)
	return err
}

// put is storage.put, with or without await. Later messages are sent after the commit in both cases.
func (r *room) put(ctx context.Context, _ *edgews.Socket, op operation) error {
	value, _ := json.Marshal(op[2])
	if op.verb() == "putWait" {
		err := r.st.Storage().Put(ctx, op.text(1), value)
		r.note("storage.put(%s) awaited", op.text(1))
		return err
	}
	r.note("storage.put(%s) not awaited", op.text(1))
	r.st.WaitUntil(func(ctx context.Context) { _ = r.st.Storage().Put(ctx, op.text(1), value) })
	return nil
}

func (r *room) setAlarm(ctx context.Context, _ *edgews.Socket, op operation) error {
	r.note("setAlarm(+%d)", op.number(1))
	return r.st.Storage().SetAlarm(ctx, time.Now().Add(time.Duration(op.number(1))*time.Millisecond))
}
