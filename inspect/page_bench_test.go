//go:build unix

package inspect_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/inspect"
	"github.com/stretchr/testify/require"
)

// BenchmarkOpenPage has 9900 sockets over TCP and 100,000 objects in memory, in which nothing happens, and a program that watches what a view of
// the page does. It reports the share of a core that the process takes with and without that, in per cent, of half a minute each.
//
//	go test -run - -bench OpenPage -benchtime 1x ./inspect
func BenchmarkOpenPage(b *testing.B) {
	const sockets, objects = 9900, 100_000 // a socket takes two descriptors here, of which a process may have 20,000
	i := inspect.New(&inspect.Options{Authorize: anyone, Meter: edgews.NewMeter(nil), Logger: quiet})
	n := edgews.NewNamespace("rooms", newRoom, &edgews.NamespaceOptions{
		HibernateAfter: time.Hour, Options: edgews.Options{Observer: i, KeepAlive: -1},
	})
	b.Cleanup(func() { require.NoError(b, n.Shutdown(context.Background())) })
	for k := range objects {
		require.NoError(b, n.ByName(fmt.Sprint("room ", k)).Do(b.Context(), func(context.Context, edgews.Object) error { return nil }))
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: edgews.Options{Observer: i, KeepAlive: -1}}); err == nil {
			s.OnMessage(func(edgews.MessageEvent) {})
			_ = s.Accept()
		}
	}))
	b.Cleanup(srv.Close)
	for range sockets {
		s, _, err := edgews.Dial(b.Context(), "ws"+strings.TrimPrefix(srv.URL, "http"), &edgews.DialOptions{Options: edgews.Options{KeepAlive: -1}})
		require.NoError(b, err)
		s.OnMessage(func(edgews.MessageEvent) {})
		require.NoError(b, s.Accept())
	}
	cases := []struct {
		name string
		list string
	}{{"none", ""}, {"overview", inspect.CallHistory}, {"sockets", inspect.CallSockets}, {"objects", inspect.CallObjects}, {"bill", inspect.CallBill}}
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			if c.list != "" {
				page := dial(b, i)
				call[inspect.Done](b, page, inspect.CallWatch, inspect.WatchRequest{Watch: "overview", Call: inspect.CallOverview})
				call[inspect.Done](b, page, inspect.CallWatch, inspect.WatchRequest{Watch: "list", Call: c.list})
				go func() {
					for range page.updates { // the page
					}
				}()
			}
			time.Sleep(3 * time.Second)
			runtime.GC()
			for b.Loop() {
				const during = 30 * time.Second
				before := cpuTime(b)
				time.Sleep(during)
				b.ReportMetric(100*(cpuTime(b)-before).Seconds()/during.Seconds(), "%core")
			}
		})
	}
}

// cpuTime returns the processor time that the process has taken.
func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	require.NoError(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
