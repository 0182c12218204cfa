package edgews_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/edgews/edgews"
)

// tokens maps tokens to customers.
var tokens = map[string]string{"Bearer 4f1c": "acme", "Bearer 77aa": "initech"}

func customerOf(r *http.Request) (name string, ok bool) {
	name, ok = tokens[r.Header.Get("Authorization")]
	return name, ok
}

// A service that bills its own customers: each customer has a tenant's meter, and the usage of all is the service's own bill.
func ExampleMeter() {
	meter := edgews.NewMeter(nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		customer, ok := customerOf(r) // from a token or a session, not a name that the client chooses
		if !ok {
			http.Error(w, "unknown token", http.StatusUnauthorized)
			return
		}
		s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: edgews.Options{Meter: meter.Tenant(customer)}})
		if err != nil {
			return
		}
		s.OnMessage(func(e edgews.MessageEvent) { s.Send("thanks") })
		s.Accept()
	}))
	defer server.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for token, messages := range map[string]int{"Bearer 4f1c": 2, "Bearer 77aa": 40} {
		s, _, err := edgews.Dial(ctx, server.URL, &edgews.DialOptions{Header: http.Header{"Authorization": {token}}})
		if err != nil {
			fmt.Println(err)
			return
		}
		for range messages {
			s.Write(ctx, edgews.Text, []byte("hello"))
			s.Receive(ctx)
		}
		s.Close(1000, "")
		<-s.Done()
	}

	for name, u := range meter.Tenants() {
		fmt.Printf("%s: %d in, %d bytes out\n", name, u.MessagesIn, u.BytesOut)
	}
	requests := func(b edgews.Bill) edgews.Line { return b.Lines[1] }
	line := requests(edgews.DurableObjects.Bill(meter.Usage()))
	fmt.Println(line.Quantity, "requests of", line.Included)
	// Output:
	// acme: 2 in, 12 bytes out
	// initech: 40 in, 240 bytes out
	// 5 requests of 1000000
}

// What keeps objects of a namespace from hibernating, and what that costs.
func ExampleNamespace_Explain() {
	rooms := edgews.NewNamespace("rooms", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			st.WaitUntil(func(ctx context.Context) { <-ctx.Done() }) // it runs until the object ends
		}), nil
	}, &edgews.NamespaceOptions{Options: edgews.Options{Meter: edgews.NewMeter(nil)}})
	rooms.Get(rooms.IDFromName("lobby")).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))

	because := func(r edgews.Reason) string {
		file, _, _ := strings.Cut(r.By, ":") // without the line
		return "because of " + r.Pin + " in " + file
	}
	show := func(e edgews.Explanation) {
		for _, reason := range e.Reasons {
			fmt.Println(e.State, because(reason))
		}
	}
	for e := range rooms.Explain(edgews.DurableObjects) {
		show(e)
	}
	// Output: active because of WaitUntil in example_meter_test.go
}

// What an object reads, writes and stores is part of the bill.
func ExampleMeter_storage() {
	meter := edgews.NewMeter(nil)
	counters := edgews.NewNamespace("counters", NewCounter, &edgews.NamespaceOptions{Options: edgews.Options{Meter: meter}})
	visitors := counters.Get(counters.IDFromName("visitors"))
	for range 3 {
		ask(visitors) // reads an entry and writes it
	}
	used := meter.Usage()
	fmt.Println(used.RowsRead, "rows read,", used.RowsWritten, "rows written")
	for _, line := range edgews.DurableObjectsKV.Bill(used).Lines[3:] {
		fmt.Println(line.Item+":", line.Quantity, "of", line.Included)
	}
	// Output:
	// 3 rows read, 3 rows written
	// read units: 3 of 1000000
	// write units: 3 of 1000000
}
