package edgews_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/require"
)

func TestSmokePair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := edgews.NewPair()
		var log []string
		b.OnMessage(func(e edgews.MessageEvent) { log = append(log, "b "+e.Text()); e.Target.Send("re " + e.Text()) })
		b.OnClose(func(e edgews.CloseEvent) { log = append(log, fmt.Sprint("b close ", e.Code, e.Reason, e.WasClean, e.Target.ReadyState())) })
		a.OnClose(func(e edgews.CloseEvent) { log = append(log, fmt.Sprint("a close ", e.Code, e.Reason, e.WasClean, e.Target.ReadyState())) })
		a.OnMessage(func(e edgews.MessageEvent) { log = append(log, "a "+e.Text()) })
		a.Accept()
		b.Accept()
		a.Send("1")
		a.Send("2")
		synctest.Wait()
		a.Close(4000, "bye")
		synctest.Wait()
		t.Log(strings.Join(log, "\n"))
		<-a.Done()
		<-b.Done()
	})
}

func TestSmokeServer(t *testing.T) {
	for _, comp := range []bool{true, false} {
		opts := &edgews.UpgradeOptions{}
		opts.Compression = &edgews.Compression{Disable: !comp, Threshold: 1}
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := edgews.Upgrade(w, r, opts)
			if err != nil {
				t.Error(err)
				return
			}
			s.OnMessage(func(e edgews.MessageEvent) {
				if e.Kind == edgews.Text {
					s.Send(e.Text())
				} else {
					s.SendBytes(e.Data)
				}
			})
			s.Accept()
		}))
		d := &edgews.DialOptions{}
		d.Compression = &edgews.Compression{Threshold: 1}
		s, _, err := edgews.Dial(t.Context(), srv.URL, d)
		require.NoError(t, err)
		t.Log(s.Extensions())
		for _, n := range []int{0, 1, 125, 126, 70000, 1 << 20, 16 << 20} {
			msg := strings.Repeat("x", n)
			require.NoError(t, s.Write(t.Context(), edgews.Text, []byte(msg)))
			m, err := s.Receive(t.Context())
			require.NoError(t, err)
			require.Equal(t, n, len(m.Data))
			require.Equal(t, msg, m.Text())
		}
		rtt, err := s.Ping(t.Context())
		require.NoError(t, err)
		t.Log(rtt)
		require.NoError(t, s.Close(1000, "ok"))
		_, err = s.Receive(t.Context())
		t.Log(err)
		<-s.Done()
		t.Log(s.Err(), s.ReadyState())
		srv.Close()
	}
	_ = context.Background
	_ = time.Now
}
