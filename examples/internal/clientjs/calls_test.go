package clientjs_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/edgews/edgews"
)

type sum struct{ A, B int }

// dispatches gives what the next socket of the site receives to a Mux that answers requests.
func (s *site) dispatches() {
	var mux edgews.Mux
	edgews.HandleCall(&mux, "add", func(_ context.Context, _ *edgews.Socket, req sum) (int, error) {
		time.Sleep(time.Duration(req.A) * time.Millisecond) // the replies of several sockets overtake each other
		return req.A + req.B, nil
	})
	edgews.HandleCall(&mux, "typed", func(context.Context, *edgews.Socket, any) (any, error) {
		return nil, &edgews.CallError{Code: "no_room", Message: "it is full"}
	})
	edgews.HandleCall(&mux, "fail", func(context.Context, *edgews.Socket, any) (any, error) { return nil, errors.New("secret") })
	edgews.HandleCall(&mux, "none", func(context.Context, *edgews.Socket, any) (any, error) { return nil, nil })
	edgews.Handle(&mux, "silence", func(context.Context, *edgews.Socket, any) error { return nil })
	socket := s.next()
	go func() {
		for msg := range socket.Messages(context.Background()) {
			_ = mux.Dispatch(context.Background(), socket, msg)
		}
	}()
}

// Requests of a page over either kind of socket, and what becomes of them.
func TestCalls(t *testing.T) {
	for _, begin := range []string{
		`begin({minDelay: 1})`, `window.s = new WebSocket("ws://" + location.host + "/ws"); s.onopen = () => { window.log = ["open"]; }`,
	} {
		s := newSite(t)
		p := open(t, s)
		p.does(begin)
		s.dispatches()
		p.until(`window.log?.includes("open")`)
		p.does(`window.call = calls(s, {timeout: 300});
			window.ask = async (...what) => { try { return JSON.stringify(await call(...what)); } catch (e) { return [e.name, e.code, e.message].join("|"); } };
			window.results = {};
			(async () => {
				results.many = JSON.stringify(await Promise.all([3, 2, 1].map(a => call("add", {a, b: 1}))));
				results.none = await ask("none");
				results.typed = await ask("typed", {});
				results.fail = await ask("fail");
				results.unknown = await ask("fly");
				results.timeout = await ask("silence", {});
				results.after = await ask("add", {a: 1, b: 2});
				results.id = await ask("add", {ID: 5});
				results.type = await ask("add", {type: 5});
				window.call = calls(s, {timeout: Infinity});
				results.patient = await ask("add", {a: 20, b: 2});
				window.call = calls(s, {timeout: 300});
				window.lost = ask("silence");
				window.asked = true;
			})();`)
		p.until(`window.asked`)
		for name, want := range map[string]string{
			"many": "[4,3,2]", "none": "null", "typed": "CallError|no_room|it is full", "fail": "CallError|internal|internal error",
			"unknown": `CallError|unknown_method|edgews: no handler for this type of message: "fly"`,
			"timeout": "CallError|timeout|there was no reply in time", "after": "3",
			"id": `TypeError||the message needs the field "ID" for itself`, "type": `TypeError||the message needs the field "type" for itself`,
			"patient": "22",
		} {
			p.is(strconv.Quote(want), "results."+name)
		}
		s.cut()
		p.does(`lost.then(r => { window.lostResult = r; })`)
		p.until(`window.lostResult`)
		p.is(strconv.Quote("CallError|closed|the connection was lost before the reply"), "lostResult")
		if begin[:5] != "begin" {
			p.does(`ask("add", {a: 1}).then(r => { window.later = r; })`)
			p.until(`window.later`)
			p.is(strconv.Quote("CallError|closed|there is no connection"), "later")
			continue
		}
		s.dispatches() // on the next connection
		p.until(`s.readyState === 1`)
		p.does(`ask("add", {a: 5, b: 6}).then(r => { window.later = r; })`)
		p.until(`window.later`)
		p.is(strconv.Quote("11"), "later")
	}
}
