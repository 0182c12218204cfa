package edgews_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// recordLog keeps the records of a meter, and what each tenant has used.
type recordLog struct {
	mu      sync.Mutex
	records []edgews.Record
	used    map[string]edgews.Usage
}

func (log *recordLog) add(r edgews.Record) {
	log.mu.Lock()
	defer log.mu.Unlock()
	if log.used == nil {
		log.used = make(map[string]edgews.Usage)
	}
	log.records = append(log.records, r)
	log.used[tenantPath(r.Tenant)] = log.used[tenantPath(r.Tenant)].Add(r.Usage)
}

func tenantPath(tenant []string) string { return "/" + strings.Join(tenant, "/") }

func (log *recordLog) all() []edgews.Record {
	log.mu.Lock()
	defer log.mu.Unlock()
	return log.records[:len(log.records):len(log.records)]
}

// of returns the sum of what a tenant and its tenants have used.
func (log *recordLog) of(tenant ...string) (sum edgews.Usage) {
	log.mu.Lock()
	defer log.mu.Unlock()
	for name, u := range log.used {
		if len(tenant) == 0 || name == tenantPath(tenant) || strings.HasPrefix(name, tenantPath(tenant)+"/") {
			sum = sum.Add(u)
		}
	}
	return sum
}

// own returns what a tenant has used without its tenants.
func (log *recordLog) own(tenant ...string) edgews.Usage {
	log.mu.Lock()
	defer log.mu.Unlock()
	return log.used[tenantPath(tenant)]
}

// check checks that the records are consistent among themselves.
func (log *recordLog) check(t *testing.T) {
	t.Helper()
	until := make(map[uint64]time.Time) // by connection
	for i, r := range log.all() {
		require.EqualValues(t, i+1, r.Number, "once each, in order")
		require.False(t, r.To.Before(r.From), "%v", r)
		for _, n := range []int64{r.Usage.MessagesIn, r.Usage.BytesOut, int64(r.Usage.Active), int64(r.Usage.Connected), int64(r.Usage.Busy)} {
			require.GreaterOrEqual(t, n, int64(0), "%v", r)
		}
		require.True(t, r.Fact == edgews.FactClosed || r.Usage != edgews.Usage{}, "empty record: %v", r)
		require.Equal(t, r.Fact == edgews.FactOpened, r.Usage.Connections == 1, "%v", r)
		require.Equal(t, r.Fact == edgews.FactRequest, r.Usage.HTTPRequests == 1, "%v", r)
		if last, ok := until[r.Connection]; ok && r.Connection != 0 && r.Usage.Connected > 0 {
			require.True(t, last.Equal(r.From), "the records of a connection neither overlap nor leave gaps: %v", r)
		}
		until[r.Connection] = r.To
	}
}

func TestRecords(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var j recordLog
		m := edgews.NewMeter(&edgews.MeterOptions{Record: j.add})
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m}, Tenant: func(edgews.ID) string { return "acme" }}, func(r *room) {
			r.serve = func(w http.ResponseWriter, req *http.Request) {
				if !edgews.IsUpgrade(req) {
					time.Sleep(time.Second)
					return
				}
				s, _ := edgews.Upgrade(w, req, nil)
				r.st.AcceptWebSocket(s)
			}
		})
		begin, id := time.Now(), n.NewUniqueID()
		dial, _, _ := overPipe.serve(t, n.Get(id).ServeHTTP)
		p := dialRaw(t, dial)
		p.sends(text("hello"))
		time.Sleep(20 * time.Second)
		n.get(id)
		synctest.Wait()
		p.sends(text("bye"))
		synctest.Wait()
		p.sends(closing(1000, ""))
		time.Sleep(time.Second)

		type fact struct {
			fact     edgews.Fact
			from, to time.Duration
			usage    edgews.Usage
		}
		var got []fact
		for _, r := range j.all() {
			assert.Equal(t, []string{"acme"}, r.Tenant)
			assert.Equal(t, id, r.Object)
			assert.Equal(t, "rooms", r.Namespace)
			got = append(got, fact{r.Fact, r.From.Sub(begin), r.To.Sub(begin), r.Usage})
		}
		assert.ElementsMatch(t, []fact{
			{edgews.FactOpened, 0, 0, edgews.Usage{Connections: 1}},
			{edgews.FactRequest, 21 * time.Second, 21 * time.Second, edgews.Usage{HTTPRequests: 1}},
			{edgews.FactActive, 20 * time.Second, 21 * time.Second, edgews.Usage{Active: time.Second, Busy: time.Second}},
			{edgews.FactClosed, 0, 21 * time.Second, edgews.Usage{MessagesIn: 2, BytesIn: 8, Connected: 21 * time.Second}},
		}, got)
		j.check(t)
	})
}

// Record may use its meter, except for Flush.
func TestRecordMayUseTheMeter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var m *edgews.Meter
		var j recordLog
		m = edgews.NewMeter(&edgews.MeterOptions{Logger: quiet, Record: func(r edgews.Record) {
			j.add(r)
			if m.Tenant("x").Usage(); m.Usage().Connections != 1 {
				t.Error("it counts before it tells")
			}
			for range m.Tenants() {
			}
			switch r.Number {
			case 1:
				panic("once")
			case 2:
				runtime.Goexit()
			}
		}})
		s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: m})
		require.NoError(t, s.Accept())
		go p.answersPings()
		time.Sleep(3*time.Minute + time.Second)
		require.NoError(t, s.Close(1000, ""))
		waitDone(t, s)
		require.NoError(t, m.Flush(t.Context()))
		assert.Equal(t, m.Usage(), j.of())
		assert.Len(t, j.all(), 1+3+1, "opened, each minute, closed")
		j.check(t)
	})
}

// The sum of the records is the usage, and a meter's usage is its own and its tenants', under random traffic.
func TestUsageIsTheSumOfTheRecords(t *testing.T) {
	var all edgews.Usage
	for seed := range uint64(10) {
		bubble(t, func(t *testing.T) { all = all.Add(randomTraffic(t, rand.New(rand.NewPCG(seed, 5)))) })
	}
	assert.NotZero(t, all.Alarms)
	assert.NotZero(t, all.AutoResponses)
	assert.Greater(t, all.Active, all.Busy, "something was pinned")
}

func randomTraffic(t *testing.T, r *rand.Rand) edgews.Usage {
	var j recordLog
	m := edgews.NewMeter(&edgews.MeterOptions{Record: j.add, Interval: 10 * time.Second})
	var runs atomic.Int32 // of the alarm handler
	tenants := [][]string{{}, {"a"}, {"b"}, {"b", "x"}}
	meterOf := func(path []string) *edgews.Meter {
		to := m
		for _, name := range path {
			to = to.Tenant(name)
		}
		return to
	}
	n := newRooms(t, &edgews.NamespaceOptions{
		Options: edgews.Options{Meter: m, KeepAlive: -1}, HibernateAfter: 5 * time.Second,
		Tenant: func(id edgews.ID) string { return []string{"", "a", "b"}[id.String()[0]%3] },
	}, func(o *room) {
		o.st.SetAutoResponse(edgews.AutoResponse{Request: "ping", Response: "pong"})
		o.serve = func(w http.ResponseWriter, req *http.Request) {
			if !edgews.IsUpgrade(req) {
				time.Sleep(time.Second)
				return
			}
			client, server := edgews.NewPair()
			if !req.URL.Query().Has("pin") {
				o.st.AcceptWebSocket(server)
			} else {
				server.OnMessage(func(e edgews.MessageEvent) { time.Sleep(time.Millisecond); server.Send("yes") })
				server.Accept()
			}
			edgews.Respond(w, req, client, nil)
		}
		o.alarm = func(context.Context) error {
			time.Sleep(time.Second)
			if runs.Add(1)%3 == 0 {
				return errors.New("once more")
			}
			return nil
		}
		o.message = func(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
			switch len(m.Data) {
			case 1:
				time.Sleep(300 * time.Millisecond)
			case 2:
				o.st.WaitUntil(func(context.Context) { time.Sleep(7 * time.Second) })
			case 3:
				panic("three")
			case 4:
				assert.NoError(t, o.st.Storage().SetAlarm(ctx, time.Now().Add(3*time.Second)))
			case 5:
				o.st.Abort(errors.New("five"))
			case 6:
				s.Close(1000, "")
			}
			o.st.Broadcast(edgews.Prepare(edgews.Text, m.Data))
			return nil
		}
	})
	var ids [3]edgews.ID
	for i := range ids {
		ids[i] = n.NewUniqueID()
	}
	var peers []*peer
	received := 0
	for range 300 {
		switch k := r.IntN(14); {
		case k == 0:
			s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: meterOf(tenants[r.IntN(len(tenants))]), KeepAlive: -1})
			s.OnMessage(func(e edgews.MessageEvent) { s.SendBytes(e.Data) })
			s.Accept()
			peers = append(peers, p)
			p.ignores()
		case k == 1:
			p := dialPath(t, n.Get(ids[r.IntN(3)]), []string{"", "pin"}[r.IntN(2)])
			peers = append(peers, p)
			p.ignores()
		case k == 2:
			go n.get(ids[r.IntN(3)])
		case k == 3:
			time.Sleep(time.Duration(r.IntN(20)) * time.Second)
		case k == 4 && len(peers) > 0:
			i := r.IntN(len(peers))
			peers[i].hangsUp()
			peers = append(peers[:i], peers[i+1:]...)
		case k == 12 && len(peers) > 0: // and reads no more
			i := r.IntN(len(peers))
			peers[i].writesAll(peers[i].encode(closing(1000, "")))
			peers = append(peers[:i], peers[i+1:]...)
		case k == 5:
			checkRecords(t, m, &j, tenants, meterOf)
		case len(peers) > 0:
			p := peers[r.IntN(len(peers))]
			p.writesAll(p.encode(text([]string{"ping", "1", "22", "333", "4444", "55555", "666666", strings.Repeat("7", 1000)}[r.IntN(8)])))
			received++
		}
	}
	checkRecords(t, m, &j, tenants, meterOf)
	for _, p := range peers {
		p.hangsUp()
	}
	time.Sleep(10 * time.Minute)
	recorded := j.of()
	assert.Equal(t, recorded, m.Usage(), "when everything is over, the records are complete without a reading")
	checkRecords(t, m, &j, tenants, meterOf)
	j.check(t)
	u := m.Usage()
	assert.Greater(t, u.MessagesIn+u.AutoResponses, int64(received/3))
	assert.Positive(t, u.HTTPRequests)
	assert.EqualValues(t, runs.Load(), u.Alarms)
	return u
}

func checkRecords(t *testing.T, m *edgews.Meter, log *recordLog, tenants [][]string, meterOf func([]string) *edgews.Meter) {
	t.Helper()
	synctest.Wait()
	for _, path := range tenants {
		to := meterOf(path)
		u := to.Usage()
		require.Equal(t, log.of(path...), u, "%v", path)
		for _, sub := range to.Tenants() {
			u = u.Sub(sub)
		}
		require.Equal(t, log.own(path...), u, "what %v has without its tenants", path)
	}
	require.Equal(t, m.Usage(), m.Usage(), "no time has passed")
}

// Readings while usage grows, in real time.
func TestUsageIsReadWhileItGrows(t *testing.T) {
	var j recordLog
	m := edgews.NewMeter(&edgews.MeterOptions{Record: j.add, Interval: time.Millisecond})
	n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m}}, func(r *room) {
		r.message = func(_ context.Context, s *edgews.Socket, m edgews.Message) error { return s.SendBytes(m.Data) }
		r.serve = func(w http.ResponseWriter, req *http.Request) {
			s, err := edgews.Upgrade(w, req, nil)
			if assert.NoError(t, err) {
				assert.NoError(t, r.st.AcceptWebSocket(s))
			}
		}
	})
	const sockets, messages = 4, 200
	var traffic, readers sync.WaitGroup
	over := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			var last edgews.Usage
			for {
				u := m.Usage()
				grown := u.Sub(last)
				assert.GreaterOrEqual(t, grown.MessagesIn, int64(0))
				assert.GreaterOrEqual(t, grown.Active, time.Duration(0))
				last = u
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	_, url, client := overTCP.serve(t, func(w http.ResponseWriter, r *http.Request) {
		n.Get(n.IDFromName(r.URL.Path)).ServeHTTP(w, r)
	})
	for i := range sockets {
		traffic.Go(func() {
			s, _, err := edgews.Dial(t.Context(), url+"/"+string(rune('a'+i%2)), &edgews.DialOptions{HTTPClient: client})
			if !assert.NoError(t, err) {
				return
			}
			for range messages {
				assert.NoError(t, s.Write(t.Context(), edgews.Binary, []byte("1234")))
				_, err := s.Receive(t.Context())
				assert.NoError(t, err)
			}
			s.Close(1000, "")
			waitDone(t, s)
		})
	}
	traffic.Wait()
	close(over)
	readers.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, n.Shutdown(ctx))
	require.NoError(t, m.Flush(ctx))
	u := m.Usage()
	assert.Equal(t, j.of(), u)
	assert.EqualValues(t, sockets*messages, u.MessagesIn)
	assert.EqualValues(t, sockets*messages, u.MessagesOut)
	assert.EqualValues(t, 4*sockets*messages, u.BytesIn)
	j.check(t)
}
