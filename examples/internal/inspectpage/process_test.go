// Package inspectpage_test tests the page of the inspector in Chromium.
package inspectpage_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/client/js"
	"github.com/edgews/edgews/inspect"
)

// policy is as strict as that of inspect's handler: no inline scripts or styles, and no other host.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// evil is text that a browser would run if the page took it as HTML.
const evil = `<img src=x onerror="window.hacked=true">`

// process is a program with as many sockets and objects as a test wants, which answers the page in the inspector's protocol. So the page
// is tested with values that no real program has within a test.
type process struct {
	t       *testing.T
	addr    string
	actions bool
	objects int
	cluster func() inspect.ClusterReport // nil: there is none

	mu      sync.Mutex // guards the rest
	sockets int
	done    []string // the actions
	server  *http.Server
	conns   []net.Conn
	pages   map[*edgews.Socket]map[string]context.CancelFunc // the watches
}

// start serves on the address of the last time, or on a new one.
func (p *process) start() {
	p.t.Helper()
	l, err := net.Listen("tcp", cmp.Or(p.addr, "127.0.0.1:0"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.addr = l.Addr().String()
	server := &http.Server{Handler: p.handler()}
	p.mu.Lock()
	p.server, p.pages = server, make(map[*edgews.Socket]map[string]context.CancelFunc)
	p.mu.Unlock()
	go server.Serve(listener{l, p})
}

// listener notes the connections of a process, which kill closes.
type listener struct {
	net.Listener
	p *process
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	l.p.conns = append(l.p.conns, c)
	return struct{ net.Conn }{c}, nil // no *net.TCPConn, of which the event loop would have a descriptor of its own
}

// kill ends the server without a Close frame.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server.Close()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func (p *process) handler() http.Handler {
	mux := http.NewServeMux()
	files := http.StripPrefix("/debug/edgews/", http.FileServer(http.Dir("../../../inspect/page")))
	mux.HandleFunc("GET /debug/edgews/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Cache-Control", "no-store")
		files.ServeHTTP(w, r)
	})
	mux.Handle("GET /debug/edgews/edgews.js", js.Handler())
	mux.Handle("GET /debug/edgews/calls.js", js.CallsHandler())
	mux.HandleFunc("GET /debug/edgews/socket", p.connect)
	return mux
}

func (p *process) connect(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	calls := p.calls()
	p.mu.Lock()
	p.pages[s] = make(map[string]context.CancelFunc)
	p.mu.Unlock()
	mux := new(edgews.Mux)
	for name, call := range calls {
		edgews.HandleCall(mux, name, func(_ context.Context, _ *edgews.Socket, fields json.RawMessage) (any, error) { return call(fields) })
	}
	edgews.HandleCall(mux, inspect.CallWatch, func(_ context.Context, s *edgews.Socket, req inspect.WatchRequest) (inspect.Done, error) {
		p.watch(s, req, calls[req.Call])
		return inspect.Done{}, nil
	})
	edgews.HandleCall(mux, inspect.CallUnwatch, func(_ context.Context, s *edgews.Socket, req inspect.UnwatchRequest) (inspect.Done, error) {
		p.stop(s, req.Watch, nil)
		return inspect.Done{}, nil
	})
	s.OnMessage(func(e edgews.MessageEvent) {
		if e.Text() == "ping" {
			s.Send("pong")
		} else if err := mux.Dispatch(context.Background(), s, e.Message); err != nil {
			p.t.Error(err)
		}
	})
	s.OnClose(func(edgews.CloseEvent) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, cancel := range p.pages[s] {
			cancel()
		}
		delete(p.pages, s)
	})
	s.Accept()
}

// stop ends the watch of a name, if there is one, and notes how to end the next.
func (p *process) stop(s *edgews.Socket, name string, next context.CancelFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	watches := p.pages[s]
	if cancel := watches[name]; cancel != nil {
		cancel()
	}
	delete(watches, name)
	if next != nil && watches != nil {
		watches[name] = next
	}
}

// watch sends the result of a call at once and every so often.
func (p *process) watch(s *edgews.Socket, req inspect.WatchRequest, call call) {
	ctx, cancel := context.WithCancel(context.Background())
	p.stop(s, req.Watch, cancel)
	var repeat func()
	repeat = func() {
		if ctx.Err() != nil || s.ReadyState() != edgews.Open {
			return
		}
		update := inspect.Update{Type: inspect.TypeUpdate, Watch: req.Watch}
		result, err := call(req.Params)
		if failed, ok := errors.AsType[*edgews.CallError](err); ok {
			update.Error = failed
		} else if update.Result, err = json.Marshal(result); err != nil {
			p.t.Error(err)
			return
		}
		if edgews.SendJSON(s, update) == nil {
			time.AfterFunc(time.Duration(req.Every)*time.Millisecond, repeat)
		}
	}
	repeat()
}

type call = func(fields json.RawMessage) (any, error)

// of makes a call of a function of its fields.
func of[Req any](fn func(Req) (any, error)) call {
	return func(fields json.RawMessage) (any, error) {
		var req Req
		if len(fields) > 0 {
			if err := json.Unmarshal(fields, &req); err != nil {
				return nil, err
			}
		}
		return fn(req)
	}
}

func (p *process) calls() map[string]call {
	return map[string]call{
		inspect.CallHello:     of(func(struct{}) (any, error) { return p.hello(), nil }),
		inspect.CallOverview:  of(func(struct{}) (any, error) { return p.overview(), nil }),
		inspect.CallHistory:   of(func(q inspect.HistoryQuery) (any, error) { return history(q), nil }),
		inspect.CallSockets:   of(func(q inspect.SocketsQuery) (any, error) { return p.listSockets(q), nil }),
		inspect.CallSocket:    of(p.socketDetail),
		inspect.CallObjects:   of(func(q inspect.ObjectsQuery) (any, error) { return p.listObjects(q), nil }),
		inspect.CallObject:    of(func(q inspect.ObjectQuery) (any, error) { return p.objectDetail(q), nil }),
		inspect.CallStorage:   of(func(inspect.StorageQuery) (any, error) { return inspect.StorageList{Entries: entries()}, nil }),
		inspect.CallValue:     of(value),
		inspect.CallAlarms:    of(func(inspect.AlarmsQuery) (any, error) { return p.alarms(), nil }),
		inspect.CallBill:      of(func(q inspect.BillQuery) (any, error) { return bill(q), nil }),
		inspect.CallLog:       of(func(q inspect.LogQuery) (any, error) { return logList(q), nil }),
		inspect.CallCluster:   of(func(struct{}) (any, error) { return p.clusters(), nil }),
		inspect.CallClose:     p.action("close"),
		inspect.CallSend:      p.action("send"),
		inspect.CallHibernate: p.action("hibernate"),
		inspect.CallRunAlarm:  p.action("run_alarm"),
	}
}

// action notes the fields of an action, other than those of the call itself.
func (p *process) action(name string) call {
	return func(fields json.RawMessage) (any, error) {
		if !p.actions {
			return nil, &edgews.CallError{Code: inspect.CodeForbidden, Message: "edgews: actions are not allowed"}
		}
		var all map[string]any
		if err := json.Unmarshal(fields, &all); err != nil {
			return nil, err
		}
		delete(all, "id")
		delete(all, "type")
		text, _ := json.Marshal(all)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.done = append(p.done, name+" "+string(text))
		return inspect.Done{}, nil
	}
}

// actionsDone returns what action has noted.
func (p *process) actionsDone() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.done)
}

func now() int64 { return time.Now().UnixMilli() }

func (p *process) hello() inspect.Hello {
	return inspect.Hello{
		Version: inspect.ProtocolVersion, Now: now(), Started: now() - 3_723_000, Program: "chat", PID: 4711, Host: "shop-2", Go: "go1.26.1 linux/amd64",
		Actions: p.actions, Redact: true, Meter: true, Namespaces: []string{"rooms", "users"}, Plans: []string{"Durable Objects", "Realtime service"}, MaxRows: 500,
		MinEvery: 250, MaxWatches: 16,
	}
}

func (p *process) overview() inspect.Overview {
	p.mu.Lock()
	open, n := p.sockets, p.objects
	p.mu.Unlock()
	return inspect.Overview{
		Clusters: len(p.clusters().Clusters),
		Now:      now(), Since: now() - 3_723_000,
		Sockets:    inspect.SocketCounts{Open: open, Parked: open * 9 / 10, Slow: 3, Opened: int64(open) + 1240, Closed: 1240},
		Objects:    inspect.ObjectCounts{Awake: n / 5, Active: n / 50, Idle: n/5 - n/50, Hibernated: n - n/5, Crashed: 1, Failed: 4},
		Namespaces: []inspect.NamespaceCount{{Name: "rooms", Active: n / 60, Idle: n / 8, Hibernated: n / 2}, {Name: "users", Active: 2, Idle: n / 20, Hibernated: n / 3}},
		Messages:   inspect.MessageCounts{In: 1_234_567, Out: 8_765_432, BytesIn: 98_000_000, BytesOut: 1_730_000_000, Dropped: 12},
		Rates:      inspect.MessageRates{In: 412 + 9*math.Sin(float64(now())/3000), Out: 3120, BytesIn: 41_200, BytesOut: 612_000},
		Latency:    inspect.Quantiles{Count: 1_234_567, P50: 0.021, P99: 1.4, Max: 210}, Recent: inspect.Quantiles{Count: 24_000, P50: 0.019, P99: 0.95, Max: 12},
		RoundTrip: inspect.Quantiles{Count: 8100, P50: 23, P99: 180, Max: 900}, Commit: inspect.Quantiles{Count: 5400, P50: 1.8, P99: 9.1, Max: 44},
		AlarmLate:  inspect.Quantiles{Count: 310, P50: 0.4, P99: 3.2, Max: 8},
		CloseCodes: []inspect.CodeCount{{Code: 1001, Name: "1001 (going away)", Count: 803}, {Code: 1000, Name: "1000 (normal closure)", Count: 311}, {Code: 1006, Name: "1006 (abnormal closure)", Count: 126}},
		Causes:     []inspect.NameCount{{Name: "peer", Count: 1021}, {Name: "lost", Count: 126}, {Name: "silent", Count: 61}, {Name: "slow", Count: 32}},
		Refusals:   []inspect.NameCount{{Name: "origin", Count: 41}, {Name: "limit", Count: 7}}, LastLog: 3,
	}
}

func history(q inspect.HistoryQuery) inspect.History {
	h := inspect.History{Step: q.Step, Series: make(map[string][]*float64)}
	last := now() / int64(q.Step) * int64(q.Step)
	for n := range int64(300) {
		at := last - (299-n)*int64(q.Step)
		h.Times = append(h.Times, at)
		x := float64(at) / q.Step
		values := map[string]float64{
			"open": 9000 + 900*math.Sin(x/60), "parked": 8100 + 800*math.Sin(x/60), "slow": 3, "awake": 20000 + 2000*math.Sin(x/40), "active": 2000 + 300*math.Sin(x/9),
			"hibernated": 80000 + 1000*math.Sin(x/50), "in": 410 + 60*math.Sin(x/7) + 20*math.Sin(x*2), "out": 3100 + 500*math.Sin(x/9) + 120*math.Cos(x*3), "dropped": 0,
			"bytes_in": 41_000 + 3000*math.Sin(x/6), "bytes_out": 610_000 + 90_000*math.Sin(x/9), "wire_in": 30_000, "wire_out": 240_000 + 40_000*math.Sin(x/9),
			"opened": 4 + 2*math.Sin(x/4), "closed": 4 + 2*math.Cos(x/5), "refused": math.Max(0, math.Sin(x/11)), "latency_p50": 0.02 + 0.004*math.Sin(x/5),
			"round_trip_p50": 23 + 3*math.Sin(x/9), "round_trip_p99": 120 + 60*math.Sin(x/17), "commits": 9 + 2*math.Sin(x/5), "alarms": 1, "crashed": 0,
			"latency_p99": 0.9 + 0.4*math.Sin(x/13) + 0.1*math.Sin(x*5),
		}
		for _, name := range inspect.SeriesNames {
			if v, ok := values[name]; ok {
				h.Series[name] = append(h.Series[name], &v)
			} else {
				h.Series[name] = append(h.Series[name], nil)
			}
		}
	}
	return h
}

// socketRow returns socket n, from 1 on. Socket 7 has text that a browser would run, and socket 3 is slow.
func socketRow(n int) inspect.SocketRow {
	s := inspect.SocketRow{
		Socket: uint64(n), Remote: fmt.Sprintf("10.%d.%d.%d:%d", n/60000, n/250%250, n%250, 40000+n%9000), Host: "chat.example", Path: fmt.Sprintf("/room/%d/socket", n%40),
		State: "open", Compressed: n%2 == 0, Opened: now() - int64(n)*977 - 60_000, Namespace: "rooms", Object: objectID(n % 40), Name: fmt.Sprintf("room %d", n%40), Parked: n%10 != 0,
		In: int64(n), Out: int64(9 * n), BytesIn: int64(90 * n), BytesOut: int64(1800 * n), WireIn: int64(98 * n), WireOut: int64(430 * n), RateIn: float64(n%7) / 10,
		RateOut: float64(n%31) / 3, ByteRateIn: 12, ByteRateOut: 990, RoundTrip: 8 + float64(n%90), Latency: 0.03, LatencyMax: 4.1, LastMessage: now() - int64(n%9)*1000,
	}
	switch {
	case n == 3:
		s.Slow, s.Queued, s.Parked = true, 524_288, false
	case n == 7:
		s.Path, s.Tags, s.Name, s.Remote = "/"+evil, []string{evil, "vip"}, evil, evil
	case n%5 == 0:
		s.Tags = []string{fmt.Sprintf("user:%d", n), "vip"}
	}
	return s
}

func (p *process) listSockets(q inspect.SocketsQuery) inspect.SocketList {
	p.mu.Lock()
	open := p.sockets
	p.mu.Unlock()
	var rows []inspect.SocketRow
	list := inspect.SocketList{Total: open, Offset: q.Offset}
	for k := range open {
		n := k + 1
		if q.Desc {
			n = open - k
		}
		plain := q.Search == "" && q.State == "" && q.Tag == ""
		if plain && (k < q.Offset || k >= q.Offset+q.Limit) {
			list.Selected++
			continue
		}
		s := socketRow(n)
		if q.State == "slow" && !s.Slow || q.Tag != "" && !slices.Contains(s.Tags, q.Tag) ||
			q.Search != "" && !strings.Contains(fmt.Sprint(s.Socket, s.Remote, s.Path, s.Tags), q.Search) {
			continue
		}
		if list.Selected >= q.Offset && len(rows) < q.Limit {
			rows = append(rows, s)
		}
		list.Selected++
	}
	list.Sockets = rows
	return list
}

func (p *process) socketDetail(q inspect.SocketQuery) (any, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if int(q.Socket) > p.sockets {
		return nil, &edgews.CallError{Code: inspect.CodeNotFound, Message: fmt.Sprintf("edgews: no socket %d is open", q.Socket)}
	}
	return inspect.SocketDetail{SocketRow: socketRow(int(q.Socket)), Local: "10.0.0.1:443", Extensions: "permessage-deflate", Log: logList(inspect.LogQuery{}).Entries[:1]}, nil
}

func objectID(n int) string { return fmt.Sprintf("%08x%056x", n*2_654_435_761&0xffffffff, n) }

// objectRow returns object n. Object 1 never sleeps, and object 2 has text that a browser would run.
func objectRow(n int) inspect.ObjectRow {
	o := inspect.ObjectRow{
		Namespace: "rooms", Object: objectID(n), Name: fmt.Sprintf("room %d", n), State: []string{"hibernated", "hibernated", "idle", "hibernated"}[n%4],
		Since: now() - int64(n)*1300 - 9000, Sockets: n % 9, WokenBy: "message", Constructed: now() - 700_000, Handled: int64(n * 3), Busy: float64(n) / 7,
		Cost: fmt.Sprintf("0.%09d", 100_000/(n+1)), Hibernating: "0.000000120",
	}
	switch {
	case n == 1:
		o.State, o.Pins, o.Cost = "active", []string{"accepted socket"}, "0.412500000"
		o.Why = []string{"accepted socket (10.0.0.9:51234) for 1h2m", "WaitUntil (main.go:42) for 1h2m"}
	case n == 2:
		o.Name, o.Why, o.State = evil, []string{evil}, "active"
	case n%50 == 0:
		o.State, o.Why, o.Pins = "active", []string{"event (message) for 3ms"}, []string{"event"}
	}
	return o
}

func (p *process) listObjects(q inspect.ObjectsQuery) inspect.ObjectList {
	list := inspect.ObjectList{Total: p.objects, Offset: q.Offset}
	for n := range p.objects {
		if q.Search == "" && q.State == "" && (n < q.Offset || n >= q.Offset+q.Limit) {
			list.Selected++
			continue
		}
		o := objectRow(n + 1)
		if q.State != "" && o.State != q.State || q.Search != "" && !strings.Contains(o.Name, q.Search) {
			continue
		}
		if list.Selected >= q.Offset && len(list.Objects) < q.Limit {
			list.Objects = append(list.Objects, o)
		}
		list.Selected++
	}
	return list
}

func (p *process) objectDetail(q inspect.ObjectQuery) inspect.ObjectDetail {
	for n := range 50 {
		o := objectRow(n)
		if o.Object != q.Object {
			continue
		}
		d := inspect.ObjectDetail{ObjectRow: o, Alarm: now() + 90_500, Connections: []inspect.SocketRow{socketRow(3), socketRow(7)}}
		if n == 1 {
			d.Reasons = []inspect.Reason{{Pin: "accepted socket", Since: now() - 3_720_000, By: "10.0.0.9:51234", Socket: 3}, {Pin: "WaitUntil", Since: now() - 3_700_000, By: "main.go:42"}}
		}
		return d
	}
	return inspect.ObjectDetail{ObjectRow: inspect.ObjectRow{Namespace: q.Namespace, Object: q.Object, State: "absent"}}
}

func entries() []inspect.StorageEntry {
	return []inspect.StorageEntry{
		{Key: evil, Cursor: "a", Value: inspect.Value{Size: len(evil), As: "text", Text: evil}},
		{Key: "members", Cursor: "b", Value: inspect.Value{Size: 27, As: "json", Text: "{\n  \"ann\": true,\n  \"bob\": false\n}"}},
		{Key: "picture", Cursor: "c", Value: inspect.Value{Size: 8, As: "hex", Text: "89504e470d0a1a0a"}},
		{Key: "token", Cursor: "d", Value: inspect.Value{Size: 32, As: "text", Text: "********", Redacted: true}},
	}
}

// value returns a value in another form.
func value(q inspect.ValueQuery) (any, error) {
	for _, e := range entries() {
		if e.Cursor != q.Cursor {
			continue
		}
		if q.As == "json" && e.As != "json" {
			return nil, &edgews.CallError{Code: edgews.CodeBadRequest, Message: "edgews: the value is no JSON"}
		}
		v := e.Value
		if q.As == "hex" && e.As != "hex" {
			v.Text = fmt.Sprintf("%x", v.Text)
		}
		v.As = cmp.Or(q.As, v.As)
		return v, nil
	}
	return nil, &edgews.CallError{Code: inspect.CodeNotFound, Message: "edgews: no such key"}
}

func (p *process) alarms() inspect.AlarmList {
	list := inspect.AlarmList{}
	for n := range 300 {
		list.Alarms = append(list.Alarms, inspect.AlarmRow{Namespace: "rooms", Object: objectID(n + 1), Name: fmt.Sprintf("room %d", n+1), At: now() + int64(n-1)*61_000})
	}
	return list
}

func usd(text string) edgews.USD {
	amount, err := edgews.ParseUSD(text)
	if err != nil {
		panic(err)
	}
	return amount
}

func bill(q inspect.BillQuery) inspect.BillReport {
	return inspect.BillReport{
		Plans: []inspect.PlanCost{{Plan: "Durable Objects", Cost: "5.42", AlwaysOn: "61.90", Saved: "56.48", SavedAtPrices: "56.48"}, {Plan: "Realtime service", Cost: "29.00", AlwaysOn: "29.00", Saved: "0.00", SavedAtPrices: "0.00"}},
		Bill: edgews.Bill{Plan: cmp.Or(q.Plan, "Durable Objects"), Total: usd("5.42"), Lines: []edgews.Line{
			{Item: "base fee", Quantity: 1, Unit: "month", Price: usd("5"), Per: 1, Cost: usd("5")},
			{Item: "requests", Quantity: 3_810_000, Included: 1_000_000, Billed: 2_810_000, Unit: "requests", Price: usd("0.15"), Per: 1_000_000, Cost: usd("0.42")},
			{Item: "duration", Quantity: 310_000, Included: 400_000, Unit: "GB-s", Price: usd("12.5"), Per: 1_000_000},
		}},
		Usage:   []inspect.UsageItem{{Name: "Connections", Value: 11_240}, {Name: "MessagesIn", Value: 1_234_567}, {Name: "Active", Value: 7_204_000}, {Name: "Busy", Value: 181_000}},
		Tenants: []inspect.TenantCost{{Tenant: "acme", Cost: "0.310000000", AlwaysOn: "2.500000000", Saved: "2.190000000", Connections: 9000, Messages: 900_000, Active: 5_000_000}, {Tenant: evil, Cost: "0.020000000", AlwaysOn: "0.020000000", Saved: "0.000000000", Connections: 41, Messages: 2200, Active: 91_000}},
		Total:   2, Selected: 2,
	}
}

func logList(q inspect.LogQuery) inspect.LogList {
	all := []inspect.LogEntry{
		{Seq: 3, At: now() - 4000, Kind: "crash", Text: "edgews: the object was reset: panic: " + evil, Count: 1, Namespace: "rooms", Object: objectID(1), Name: "room 1"},
		{Seq: 2, At: now() - 61_000, Kind: "protocol", Text: "edgews: RFC 6455 section 5.1: a frame of a client is not masked", Count: 12, Socket: 9, Remote: "10.0.0.9:51234", Path: "/room/1/socket"},
		{Seq: 1, At: now() - 900_000, Kind: "refusal", Text: "edgews: the origin https://other.example is not allowed", Count: 41, Remote: "10.0.0.12:40122", Path: "/room/2/socket"},
	}
	kept := slices.DeleteFunc(all, func(e inspect.LogEntry) bool {
		return len(q.Kinds) > 0 && !slices.Contains(q.Kinds, e.Kind) || !strings.Contains(e.Text, q.Search)
	})
	return inspect.LogList{Entries: kept, Last: 3}
}
