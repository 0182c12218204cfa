// The code of docs/billing.md.
package billing_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/edgews/edgews/store/bolt"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Room stores each message and sends it to everyone, which takes 10 ms.
type Room struct {
	st     *edgews.State
	awake  bool // it takes its sockets with Accept
	number int
}

func (o *Room) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	if !o.awake {
		o.st.AcceptWebSocket(s) // the room hibernates between messages
		return
	}
	s.OnMessage(func(e edgews.MessageEvent) { o.say(context.Background(), e.Text()) })
	s.Accept() // the room is active for as long as the socket is open
}

func (o *Room) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	return o.say(ctx, m.Text())
}

func (o *Room) say(ctx context.Context, text string) error {
	<-time.After(10 * time.Millisecond)
	o.number++
	key := fmt.Sprint(time.Now().UnixNano(), o.number)
	if err := o.st.Storage().Put(ctx, key, []byte(text)); err != nil {
		return err
	}
	o.st.Broadcast(edgews.Prepare(edgews.Text, []byte(text)))
	return nil
}

// newRooms returns rooms whose use a meter counts.
func newRooms(meter *edgews.Meter, awake bool) *edgews.Namespace {
	return edgews.NewNamespace("rooms", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return &Room{st: st, awake: awake}, nil
	}, &edgews.NamespaceOptions{Options: edgews.Options{Meter: meter}})
}

// expected is the load of a month: 100 rooms with 50 people each, who are there for 8 hours a day and say something once a minute.
var expected = edgews.Expectation{
	Objects: 100, Sockets: 50, Open: 8 * time.Hour,
	Messages: 1, MessageTime: 10 * time.Millisecond,
	Writes: 1,
}

// TestDay lets a day of one room with five people pass, and compares what the meter has counted with the expectation.
func TestDay(t *testing.T) {
	for _, hibernate := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			meter := edgews.NewMeter(nil)
			rooms := newRooms(meter, !hibernate)
			srv := edgewstest.New(t, rooms.ByName("lobby"))
			var people []*edgews.Socket
			for range 5 {
				s := srv.Dial("/", nil)
				require.NoError(t, s.Accept())
				people = append(people, s)
			}
			begin := time.Now()
			for range 8 * 60 {
				for _, s := range people {
					require.NoError(t, s.Send("hello"))
				}
				<-time.After(time.Minute)
			}
			<-time.After(time.Until(begin.Add(8 * time.Hour)))
			for _, s := range people {
				require.NoError(t, s.Close(edgews.StatusNormalClosure, ""))
				<-s.Done()
			}
			synctest.Wait()
			got := meter.Usage()

			day := expected
			day.Days, day.Objects, day.Sockets, day.Hibernate = 1, 1, 5, hibernate
			want := day.Usage()
			assert.Equal(t, want.Connections, got.Connections)
			assert.Equal(t, want.MessagesIn, got.MessagesIn)
			assert.Equal(t, want.RowsWritten, got.RowsWritten)
			assert.Equal(t, want.Busy, got.Busy)
			assert.Equal(t, want.Connected, got.Connected)
			assert.Equal(t, want.Active, got.Active, "hibernate: %v", hibernate)
			require.NoError(t, rooms.Shutdown(context.Background()))
		})
	}
}

// The month, without and with hibernation.
func Example_month() {
	expected := expected
	fmt.Println(edgews.DurableObjects.Estimate(expected))
	fmt.Println()
	expected.Hibernate = true
	fmt.Println(edgews.DurableObjects.Estimate(expected))
	// Output:
	// Durable Objects
	//
	// item            quantity    included      billed  unit      price                  cost
	// base fee               1           0           1  period    $5.00                 $5.00
	// requests       3,750,000   1,000,000   3,000,000  requests  $0.15 per million     $0.45
	// duration      11,059,200     400,000  11,000,000  GB-s      $12.50 per million  $137.50
	// rows written  72,000,000  50,000,000  22,000,000  rows      $1.00 per million    $22.00
	// total                                                                           $164.95
	//
	// Durable Objects
	//
	// item            quantity    included      billed  unit      price                 cost
	// base fee               1           0           1  period    $5.00                $5.00
	// requests       3,750,000   1,000,000   3,000,000  requests  $0.15 per million    $0.45
	// duration          92,160     400,000           0  GB-s      $12.50 per million   $0.00
	// rows written  72,000,000  50,000,000  22,000,000  rows      $1.00 per million   $22.00
	// total                                                                           $27.45
}

// The quantities of the month.
func Example_usage() {
	used := expected.Usage()
	fmt.Println("connections", used.Connections)
	fmt.Println("messages in", used.MessagesIn)
	fmt.Println("rows written", used.RowsWritten)
	fmt.Println("active with Accept", used.Active)
	expected := expected
	expected.Hibernate = true
	fmt.Println("active with AcceptWebSocket", expected.Usage().Active)
	// Output:
	// connections 150000
	// messages in 72000000
	// rows written 72000000
	// active with Accept 24000h0m0s
	// active with AcceptWebSocket 200h0m0s
}

// usage answers with what has been used. Let only operators read it.
func usage(meter *edgews.Meter) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(meter.Usage())
	}
}

func TestUsage(t *testing.T) {
	meter := edgews.NewMeter(nil)
	w := httptest.NewRecorder()
	usage(meter)(w, httptest.NewRequest(http.MethodGet, "/usage", nil))
	var got edgews.Usage
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
	assert.Equal(t, meter.Usage(), got)
}

// customerOf returns the customer of a request.
func customerOf(r *http.Request) string { return r.Header.Get("X-Customer") }

// customerOfRoom returns the customer of an object: rooms have names such as "acme/lobby".
func customerOfRoom(id edgews.ID) string {
	for i, c := range id.Name() {
		if c == '/' {
			return id.Name()[:i]
		}
	}
	return ""
}

func newTenantRooms(meter *edgews.Meter) *edgews.Namespace {
	return edgews.NewNamespace("rooms", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return &Room{st: st}, nil
	}, &edgews.NamespaceOptions{
		Options: edgews.Options{Meter: meter},
		Tenant:  customerOfRoom, // of an object
	})
}

func tenantHandler(meter *edgews.Meter) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{
			Options: edgews.Options{Meter: meter.Tenant(customerOf(r))}, // of a socket without an object
		})
		if err != nil {
			return
		}
		s.Accept()
	}
}

// price is what this service charges its customers.
var price = edgews.Plan{
	Name:        "Acme Chat",
	Connections: edgews.Rate{Price: edgews.Cent},
	Messages:    edgews.Rate{Included: 1000, Price: 2 * edgews.Dollar, Per: 1_000_000, RoundUp: 1000},
	Stored:      edgews.Rate{Price: 30 * edgews.Cent}, // a GB for 30 days
}

// invoices returns what each customer owes for the use since the last readings, and replaces those.
func invoices(meter *edgews.Meter, last map[string]edgews.Usage) map[string]edgews.Bill {
	bills := make(map[string]edgews.Bill)
	for customer, used := range meter.Tenants() {
		bills[customer] = price.Bill(used.Sub(last[customer]))
		last[customer] = used
	}
	return bills
}

func TestTenants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter := edgews.NewMeter(nil)
		rooms := newTenantRooms(meter)
		mux := http.NewServeMux()
		mux.HandleFunc("/plain", tenantHandler(meter))
		mux.HandleFunc("/room/{room...}", func(w http.ResponseWriter, r *http.Request) {
			rooms.ByName(r.PathValue("room")).ServeHTTP(w, r)
		})
		srv := edgewstest.New(t, mux)
		for range 2 {
			s := srv.Dial("/plain", &edgews.DialOptions{Header: http.Header{"X-Customer": {"acme"}}})
			require.NoError(t, s.Accept())
		}
		for _, room := range []string{"acme/lobby", "initech/lobby"} {
			s := srv.Dial("/room/"+room, nil)
			client := edgewstest.Record(t, s)
			require.NoError(t, s.Accept())
			require.NoError(t, s.Send("hello"))
			client.Want(`text "hello"`)
		}
		last := make(map[string]edgews.Usage)
		bills := invoices(meter, last)
		assert.Equal(t, 3*edgews.Cent, bills["acme"].Total)
		assert.Equal(t, edgews.Cent, bills["initech"].Total)
		assert.EqualValues(t, 4, meter.Usage().Connections)
		synctest.Wait()
		for customer, bill := range invoices(meter, last) {
			assert.Zero(t, bill.Total, customer)
		}
		require.NoError(t, rooms.Shutdown(context.Background()))
	})
}

// trial is what a customer may use in a day before it pays.
var trial = edgews.Plan{
	Name:        "trial, a day",
	Connections: edgews.Rate{Included: 2},
	Messages:    edgews.Rate{Included: 1000},
}

func TestQuota(t *testing.T) {
	meter := edgews.NewMeter(nil)
	meter.Tenant("acme").SetQuota(trial)
	srv := edgewstest.New(t, tenantHandler(meter))
	acme := &edgews.DialOptions{Header: http.Header{"X-Customer": {"acme"}}}
	for range 2 {
		require.NoError(t, srv.Dial("/", acme).Accept())
	}
	_, resp, err := srv.TryDial(t.Context(), "/", acme)
	require.Error(t, err)
	assert.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
	assert.NotEmpty(t, resp.Header.Get("Retry-After"))
	require.NoError(t, srv.Dial("/", &edgews.DialOptions{Header: http.Header{"X-Customer": {"initech"}}}).Accept())
}

// TestStored stores a megabyte for a month.
func TestStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter := edgews.NewMeter(nil)
		rooms := newRooms(meter, false)
		put := func() {
			require.NoError(t, rooms.ByName("lobby").Do(t.Context(), func(ctx context.Context, o edgews.Object) error {
				return o.(*Room).st.Storage().Put(ctx, "k", make([]byte, 999_999))
			}))
		}
		put()
		<-time.After(30 * 24 * time.Hour)
		put()
		used := meter.Usage()
		assert.EqualValues(t, 720_000_000, used.StoredByteHours)
		assert.EqualValues(t, 2, used.RowsWritten)
		assert.EqualValues(t, 2*245, used.WriteUnits) // of 4,096 bytes
		require.NoError(t, rooms.Shutdown(context.Background()))
	})
}

// newLedger returns a meter whose sums outlive the program.
func newLedger(store edgews.Store) *edgews.Meter {
	return edgews.NewMeter(&edgews.MeterOptions{Store: store})
}

func TestLedger(t *testing.T) {
	file := filepath.Join(t.TempDir(), "meter.db")
	for run := range 2 {
		store, err := bolt.Open(file, nil)
		require.NoError(t, err)
		meter := newLedger(store)
		srv := edgewstest.New(t, tenantHandler(meter))
		require.NoError(t, srv.Dial("/", nil).Accept())
		srv.Close()
		assert.EqualValues(t, 1, meter.Usage().Connections)
		total, err := meter.Total(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, run+1, total.Connections)
		require.NoError(t, meter.Flush(t.Context()))
		require.NoError(t, store.Close())
	}
}

// why prints what is expensive at this moment, and what to change.
func why(rooms *edgews.Namespace) {
	for e := range rooms.Explain(edgews.DurableObjects) {
		if len(e.Reasons) > 0 {
			fmt.Println(e.ID.Name(), "is", e.State, "because of", e.Reasons[0].Pin)
		}
	}
}

func Example_why() {
	rooms := newRooms(edgews.NewMeter(nil), true)
	ctx := context.Background()
	s, _, err := rooms.ByName("lobby").Connect(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	s.Accept()
	why(rooms)
	s.Close(edgews.StatusNormalClosure, "")
	<-s.Done()
	rooms.Shutdown(ctx)
	// Output: lobby is active because of accepted socket
}

// accounting writes a line for each fact that counts, for a system that has its own price lists.
func accounting(write func(line string)) *edgews.Meter {
	return edgews.NewMeter(&edgews.MeterOptions{Record: func(r edgews.Record) {
		write(fmt.Sprintf("%d %s %v: %d messages, %v active", r.Number, r.Fact, r.Tenant, r.Usage.MessagesIn, r.Usage.Active))
	}})
}

func TestAccounting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string // Record is called by one goroutine at a time
		meter := accounting(func(line string) { lines = append(lines, line) })
		rooms := newTenantRooms(meter)
		srv := edgewstest.New(t, rooms.ByName("acme/lobby"))
		s := srv.Dial("/", nil)
		client := edgewstest.Record(t, s)
		require.NoError(t, s.Accept())
		require.NoError(t, s.Send("hello"))
		client.Want(`text "hello"`)
		require.NoError(t, s.Close(edgews.StatusNormalClosure, ""))
		<-s.Done()
		require.NoError(t, rooms.Shutdown(context.Background()))
		require.NoError(t, meter.Flush(t.Context()))
		t.Log(lines)
		assert.Equal(t, "1 opened [acme]: 0 messages, 0s active", lines[0])
		assert.Contains(t, lines, "2 active [acme]: 0 messages, 10ms active")
	})
}
