package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/inspect"
)

// cell is an object that accepts sockets with a tag, keeps what it is sent, and does not sleep if it is asked for that.
type cell struct{ st *edgews.State }

func newCell(_ context.Context, st *edgews.State) (edgews.Object, error) { return &cell{st}, nil }

func (c *cell) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.FormValue("do") {
	case "stay":
		c.st.WaitUntil(func(ctx context.Context) { <-ctx.Done() })
	case "alarm":
		_ = c.st.Storage().SetAlarm(r.Context(), time.Now().Add(time.Hour))
	default:
		if s, err := edgews.Upgrade(w, r, nil); err == nil {
			_ = c.st.AcceptWebSocket(s, r.FormValue("tag"))
		}
	}
}

func (*cell) WebSocketMessage(context.Context, *edgews.Socket, edgews.Message) error { return nil }
func (*cell) Alarm(context.Context) error                                            { return nil }

// inspected is a server with an inspector.
type inspected struct {
	t     *testing.T
	cells *edgews.Namespace
	url   string // of the server, http://
}

func newInspected(t *testing.T) *inspected {
	meter := edgews.NewMeter(nil)
	inspector := inspect.New(&inspect.Options{Meter: meter})
	cells := edgews.NewNamespace("cells", newCell, &edgews.NamespaceOptions{
		HibernateAfter: time.Hour, Options: edgews.Options{Observer: inspector, Meter: meter},
	})
	inspector.AddNamespaces(cells)
	mux := http.NewServeMux()
	mux.Handle(inspectPath, inspector.Handler())
	mux.HandleFunc("/cell/{name}", func(w http.ResponseWriter, r *http.Request) {
		cells.Get(cells.IDFromName(r.PathValue("name"))).ServeHTTP(w, r)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.Close()
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_ = inspector.Shutdown(ended)
		_ = cells.Shutdown(ended)
	})
	return &inspected{t, cells, server.URL}
}

// asks has the object name do something.
func (x *inspected) asks(name, what string) {
	x.t.Helper()
	resp, err := http.Get(x.url + "/cell/" + name + "?do=" + what)
	if err != nil {
		x.t.Fatal(err)
	}
	resp.Body.Close()
}

// opens opens a socket to the object name.
func (x *inspected) opens(name, tag string) *edgews.Socket {
	x.t.Helper()
	s, _, err := edgews.Dial(x.t.Context(), x.url+"/cell/"+name+"?tag="+tag, nil)
	if err != nil {
		x.t.Fatal(err)
	}
	accept(s)
	x.t.Cleanup(func() { s.Close(edgews.StatusNormalClosure, ""); <-s.Done() })
	return s
}

// breaksTheProtocol opens a connection to the object name and sends what is no frame.
func (x *inspected) breaksTheProtocol(name string) net.Conn {
	x.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(x.url, "http://"))
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET /cell/%s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", name)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		x.t.Fatal(resp, err)
	}
	fmt.Fprint(conn, "\xff\xff\xff\xff\xff\xff\xff\xff")
	return conn
}

// reads runs inspect with -json and decodes what it prints.
func reads[T any](t *testing.T, args ...string) (reply T) {
	t.Helper()
	r := runs(t, "", append([]string{"inspect", "-json"}, args...)...)
	if err := json.Unmarshal([]byte(r.out), &reply); err != nil || r.code != exitSuccess {
		t.Fatalf("%v: exit code %d, %v: %s%s", args, r.code, err, r.out, r.err)
	}
	return reply
}

// sockets returns the ids that inspect lists.
func (x *inspected) sockets(args ...string) (ids []uint64) {
	x.t.Helper()
	for _, s := range reads[inspect.SocketList](x.t, append([]string{x.url, "sockets"}, args...)...).Sockets {
		ids = append(ids, s.Socket)
	}
	return ids
}

// objects returns the names of the objects that inspect lists.
func (x *inspected) objects(args ...string) (names []string) {
	x.t.Helper()
	for _, o := range reads[inspect.ObjectList](x.t, append([]string{x.url, "objects"}, args...)...).Objects {
		names = append(names, o.Name)
	}
	return names
}

func equal[T any](t *testing.T, what string, got, want []T) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestInspect(t *testing.T) {
	x := newInspected(t)
	x.asks("insomniac", "stay")
	x.asks("clock", "alarm")
	first, second, third := x.opens("attic", "red"), x.opens("attic", "blue"), x.opens("cellar", "red")
	for range 3 {
		if err := second.Write(t.Context(), edgews.Text, []byte("hello")); err != nil {
			t.Fatal(err)
		}
	}
	var list inspect.SocketList
	eventually(t, func() bool { // samples are a second old
		list = reads[inspect.SocketList](t, x.url, "sockets", "-sort", "messages", "-desc")
		return list.Total == 3 && list.Sockets[0].In == 3
	}, func() string { return fmt.Sprintf("%+v", list) })
	ids := map[string]uint64{}
	for _, s := range list.Sockets {
		ids[s.Remote] = s.Socket
	}
	id := func(s *edgews.Socket) uint64 { return ids[s.LocalAddr().String()] }
	a, b, c := id(first), id(second), id(third)

	// A client may go on before the server has made the socket, so ids need not be in the order in which clients have connected.
	inOrder := func(ids ...uint64) []uint64 { return slices.Sorted(slices.Values(ids)) }
	equal(t, "all", x.sockets(), inOrder(a, b, c))
	equal(t, "search", x.sockets("-search", "/cell/attic"), inOrder(a, b))
	equal(t, "name", x.sockets("-name", "cellar"), []uint64{c})
	equal(t, "tag", x.sockets("-tag", "red"), inOrder(a, c))
	equal(t, "tag and path", x.sockets("-tag", "red", "-path", "/cell/c"), []uint64{c})
	equal(t, "peer", x.sockets("-peer", second.LocalAddr().String()), []uint64{b})
	equal(t, "order", x.sockets("-sort", "messages", "-desc", "-limit", "1"), []uint64{b})
	equal(t, "nothing", x.sockets("-state", "slow"), nil)
	if d := reads[inspect.SocketDetail](t, x.url, "sockets", "-id", fmt.Sprint(b)); d.Remote != second.LocalAddr().String() {
		t.Errorf("the socket of -id is %+v", d)
	}

	eventually(t, func() bool { return len(x.objects()) == 4 }, func() string { return fmt.Sprint(x.objects()) })
	equal(t, "objects", x.objects("-sort", "name"), []string{"attic", "cellar", "clock", "insomniac"})
	equal(t, "greatest first", x.objects("-sort", "name", "-desc"), []string{"insomniac", "clock", "cellar", "attic"})
	equal(t, "part of the name", x.objects("-name", "C", "-sort", "name"), []string{"attic", "cellar", "clock", "insomniac"})
	equal(t, "name", x.objects("-name", "cel"), []string{"cellar"})
	equal(t, "beginning of the ID", x.objects("-id", x.cells.IDFromName("attic").String()[:20]), []string{"attic"})
	equal(t, "what is no ID", x.objects("-id", "c"), withPrefix(x.cells, "c", "attic", "cellar", "clock", "insomniac"))
	equal(t, "pin", x.objects("-pin", "WaitUntil"), []string{"insomniac"})
	equal(t, "namespace", x.objects("-namespace", "nowhere"), nil)

	objects := runs(t, "", "inspect", x.url+"/debug/edgews", "objects", "-pin", "WaitUntil")
	objects.wants(t, exitSuccess, "NAMESPACE  OBJECT", "")
	objects.wants(t, exitSuccess, "insomniac  active", "")
	objects.wants(t, exitSuccess, "WaitUntil (", "")
	runs(t, "", "inspect", x.url, "alarms").wants(t, exitSuccess, "cells      clock", "")
	runs(t, "", "inspect", x.url+"/", "bill").wants(t, exitSuccess, edgews.DurableObjects.Name, "")
	runs(t, "", "inspect", x.url+inspectPath+"socket").wants(t, exitSuccess, "sockets   open 3", "")
	runs(t, "", "inspect", x.url, "sockets", "-limit", "2").wants(t, exitSuccess, "cells/attic", "2 of 3 sockets are shown")
	if o := reads[inspect.Overview](t, x.url, "overview"); o.Sockets.Open != 3 || o.Messages.In != 3 {
		t.Errorf("the overview has %+v, %+v", o.Sockets, o.Messages)
	}
	if b := reads[inspect.BillReport](t, x.url, "bill"); len(b.Plans) != 1 || b.Bill.Total == 0 {
		t.Errorf("the bill is %+v", b)
	}
}

// withPrefix returns those of names whose ID begins with prefix, in the order of inspect.
func withPrefix(n *edgews.Namespace, prefix string, names ...string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(n.IDFromName(name).String(), prefix) })
}

// More rows than a server gives at once come in several replies.
func TestInspectPages(t *testing.T) {
	x := newInspected(t)
	const objects = 1203
	for n := range objects {
		name := fmt.Sprintf("o%04d", n)
		r := httptest.NewRequest(http.MethodGet, "/?do=nothing", nil)
		x.cells.Get(x.cells.IDFromName(name)).ServeHTTP(httptest.NewRecorder(), r)
	}
	for _, test := range []struct{ limit, shown int }{{0, objects}, {1001, 1001}, {500, 500}, {1, 1}, {5000, objects}} {
		names := x.objects("-sort", "name", "-limit", fmt.Sprint(test.limit))
		if len(names) != test.shown || !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != test.shown {
			t.Errorf("-limit %d: %d objects", test.limit, len(names))
		}
	}
	runs(t, "", "inspect", x.url, "objects").wants(t, exitSuccess, "o", "100 of 1203 objects are shown")
}

// The log keeps what is over, such as a peer that has broken the protocol.
func TestInspectLog(t *testing.T) {
	x := newInspected(t)
	follow := start(t, nil, "inspect", x.url, "log", "-watch", "-every", "100ms")
	conn := x.breaksTheProtocol("attic")
	eventually(t, func() bool { return strings.Contains(follow.out.String(), "protocol") }, follow.out.String)
	log := reads[inspect.LogList](t, x.url, "log", "-kind", "protocol")
	if len(log.Entries) != 1 || log.Entries[0].Remote != conn.LocalAddr().String() {
		t.Errorf("the log has %+v", log.Entries)
	}
	if log := reads[inspect.LogList](t, x.url, "log", "-kind", "crash"); len(log.Entries) != 0 {
		t.Errorf("the log has %+v", log.Entries)
	}
	runs(t, "", "inspect", x.url, "log").wants(t, exitSuccess, "cells/attic", "")

	follow.interrupt(&signalError{os.Interrupt})
	if code := follow.wait(); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	for _, once := range []string{"KIND", "protocol error"} {
		if n := strings.Count(follow.out.String(), once); n != 1 {
			t.Errorf("%s is printed %d times: %s", once, n, follow.out.String())
		}
	}
}

// With -watch and -json each line is a table. The command ends when the server does.
func TestInspectWatch(t *testing.T) {
	inspector := inspect.New(nil)
	server := httptest.NewServer(inspector.Handler())
	defer server.Close()
	r := start(t, nil, "inspect", server.URL, "-watch", "-every", "100ms", "-json")
	eventually(t, func() bool { return strings.Count(r.out.String(), "\n") >= 3 }, r.err.String)
	if err := inspector.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code := r.wait(); code != exitFailure || !strings.Contains(r.err.String(), "1012") {
		t.Errorf("exit code %d: %s", code, r.err.String())
	}
	lines := bufio.NewScanner(strings.NewReader(r.out.String()))
	for lines.Scan() {
		var o inspect.Overview
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil || o.Now == 0 {
			t.Errorf("%v: %s", err, lines.Text())
		}
	}
}

func TestInspectFails(t *testing.T) {
	x := newInspected(t)
	stranger := httptest.NewServer(inspect.New(&inspect.Options{Authorize: func(r *http.Request) bool { return r.Header.Get("Token") == "1" }}).Handler())
	defer stranger.Close()
	for _, test := range []struct {
		name string
		code int
		args []string
		err  string
	}{
		{"nothing listens", exitFailure, []string{"http://127.0.0.1:1"}, "refused"},
		{"another scheme", exitUsage, []string{"ftp://x"}, "scheme"},
		{"no URL", exitUsage, []string{"http://[::1"}, "missing ']'"},
		{"not found", exitRefused, []string{x.url + "/nowhere/"}, "404"},
		{"not authorized", exitRefused, []string{stranger.URL}, "Options.Authorize has refused"},
		{"authorized", exitSuccess, []string{"-H", "Token: 1", stranger.URL}, ""},
		{"no meter", exitFailure, []string{"-H", "Token: 1", stranger.URL, "bill"}, "there is no meter"},
		{"another protocol", exitFailure, []string{"-timeout", "200ms", echoServer(t) + "/socket"}, "no answer to hello"},
		{"no such table", exitUsage, []string{x.url, "tables"}, `no table "tables"`},
		{"no such order", exitUsage, []string{x.url, "sockets", "-sort", "colour"}, "not sorted by"},
		{"no such state", exitUsage, []string{x.url, "sockets", "-state", "blue"}, "no state"},
		{"no such plan", exitFailure, []string{x.url, "bill", "-plan", "free"}, "free"},
		{"flag of another table", exitUsage, []string{x.url, "objects", "-tag", "red"}, "-tag is for sockets, not for objects"},
		{"flag of a table", exitUsage, []string{x.url, "-sort", "queue"}, "not for overview"},
		{"two searches", exitUsage, []string{x.url, "objects", "-id", "0", "-name", "x"}, "one of"},
		{"an id that is no number", exitUsage, []string{x.url, "sockets", "-id", "x"}, "is a number"},
		{"no such socket", exitFailure, []string{x.url, "sockets", "-id", "1000000000"}, "no open socket"},
		{"negative limit", exitUsage, []string{x.url, "sockets", "-limit", "-5"}, "-limit"},
		{"too often", exitUsage, []string{x.url, "-every", "1ms"}, "-every"},
	} {
		t.Run(test.name, func(t *testing.T) {
			runs(t, "", append([]string{"inspect"}, test.args...)...).wants(t, test.code, "", test.err)
		})
	}
}

// hostileInspector returns the URL of a server that speaks the protocol and answers with what could control a terminal.
func hostileInspector(t *testing.T) string {
	const text = "\x1b]2;owned\a\x1b[2J\u009b2J\u202e\nforged"
	var mux edgews.Mux
	answer := func(call string, reply any) {
		edgews.HandleCall(&mux, call, func(context.Context, *edgews.Socket, struct{}) (any, error) { return reply, nil })
	}
	answer(inspect.CallHello, inspect.Hello{Version: 1, Program: text, MaxRows: 10})
	answer(inspect.CallOverview, inspect.Overview{
		Causes: []inspect.NameCount{{Name: text}}, Namespaces: []inspect.NamespaceCount{{Name: text}}, Since: -1 << 62, Now: 1 << 62,
	})
	answer(inspect.CallSockets, inspect.SocketList{Selected: -1, Sockets: []inspect.SocketRow{{
		Remote: text, Path: text, Namespace: text, Name: text, State: text, Protocol: text, Tags: []string{text}, Opened: -1 << 62, Latency: 1e300,
		RateIn: -1e300, Queued: math.MinInt,
	}}})
	answer(inspect.CallObjects, inspect.ObjectList{Objects: []inspect.ObjectRow{{Namespace: text, Name: text, State: text, Why: []string{text}, Cost: text}}})
	answer(inspect.CallAlarms, inspect.AlarmList{More: true, Alarms: []inspect.AlarmRow{{Namespace: text, Object: text, At: 1 << 62}}})
	answer(inspect.CallBill, inspect.BillReport{Plans: []inspect.PlanCost{{Plan: text}}, Bill: edgews.Bill{Plan: text, Lines: []edgews.Line{{Item: text, Unit: text}}}, Tenants: []inspect.TenantCost{{Tenant: text}}})
	answer(inspect.CallCluster, inspect.ClusterReport{Now: 1 << 62, Clusters: []inspect.ClusterView{{
		Name: text, Node: text, Namespaces: []string{text}, Lease: inspect.ClusterLease{Error: text, ErrorAt: 1 << 62, Left: math.MaxFloat64},
		Shards:  inspect.ClusterShards{Waiting: []inspect.ClusterWait{{Missing: []string{text}}}},
		Members: []inspect.ClusterNode{{ID: text, State: text, Addr: text, Incarnation: text, BeatAge: math.MaxFloat64}}, Links: []inspect.ClusterLink{{Member: text, Error: text, Since: 1 << 62}},
		Events: []inspect.ClusterNews{{Kind: text, Member: text, Reason: text, At: -1 << 62}},
	}}})
	answer(inspect.CallLog, inspect.LogList{Entries: []inspect.LogEntry{{Text: text, Kind: text, Path: text, At: 1 << 62}}})
	return serveSockets(t, func(s *edgews.Socket, _ *http.Request) {
		s.OnMessage(func(e edgews.MessageEvent) { _ = mux.Dispatch(t.Context(), s, e.Message) })
		accept(s)
	})
}

// What a server sends cannot control the terminal, forge lines, or end the command in a panic.
func TestInspectEscapes(t *testing.T) {
	url := hostileInspector(t)
	for _, table := range inspectTables {
		for _, format := range []string{"-json=false", "-json"} {
			r := runs(t, "", "inspect", url, table, format)
			if i := strings.IndexFunc(r.out, func(c rune) bool { return c != '\n' && !visible(c) }); i >= 0 || r.code != exitSuccess {
				t.Errorf("%s %s: exit code %d, a control character at %d: %q%s", table, format, r.code, i, r.out, r.err)
			}
			if strings.Contains(r.out, "\nforged") || !strings.Contains(r.out, "owned") {
				t.Errorf("%s %s: %s", table, format, r.out)
			}
		}
	}
}

// A sheet fits into every width: columns are left out and the last ones are cut.
func TestSheetFits(t *testing.T) {
	s := sheet{columns: []column{{"ID", true, 0}, {"PEER", false, 1}, {"EMPTY", false, 2}, {"WHY", false, 0}}}
	s.add("1", "192.0.2.1:5000", "", "WaitUntil (room.go:17) for 3m")
	s.add("200", "[2001:db8::1]:5000", "", "アラーム 目覚まし")
	var out strings.Builder
	s.write(&out, paper{})
	const all = "" +
		" ID  PEER                EMPTY  WHY\n" +
		"  1  192.0.2.1:5000             WaitUntil (room.go:17) for 3m\n" +
		"200  [2001:db8::1]:5000         アラーム 目覚まし\n"
	if out.String() != all {
		t.Errorf("got\n%swant\n%s", out.String(), all)
	}
	for columns := 1; columns < 80; columns++ {
		out.Reset()
		s.write(&out, paper{columns: columns})
		for line := range strings.Lines(out.String()) {
			if n := terminalCells(strings.TrimSuffix(line, "\n")); n > columns {
				t.Errorf("%d columns: %q takes %d", columns, line, n)
			}
		}
	}
	out.Reset()
	s.write(&out, paper{columns: 34})
	if want := " ID  WHY\n  1  WaitUntil (room.go:17) for 3m\n200  アラーム 目覚まし\n"; out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
