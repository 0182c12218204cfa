package edgewstest_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// recorded returns a recorder of one end of a pair, accepted, and the other end, accepted.
func recorded(t testing.TB) (*edgewstest.Recorder, *edgews.Socket) {
	a, b := edgews.NewPair()
	rec := edgewstest.Record(t, a)
	a.Accept()
	b.Accept()
	return rec, b
}

func TestRecorderLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec, peer := recorded(t)
		require.NoError(t, peer.Send("hello"))
		rec.Want(`text "hello"`)
		require.NoError(t, rec.Send("quoted \"text\"\nof two lines"))
		require.NoError(t, rec.SendBytes([]byte{1}))
		require.NoError(t, peer.SendBytes([]byte{0, 'a', 0xff}))
		require.NoError(t, peer.Send(strings.Repeat("x", 1000)))
		require.NoError(t, peer.Send(strings.Repeat("x", 1001)))
		require.NoError(t, peer.Send(strings.Repeat("y", 1001)))
		rec.Want(`sent text "quoted \"text\"\nof two lines"`, `sent binary "\x01"`, `binary "\x00a\xff"`, `text "`+strings.Repeat("x", 1000)+`"`,
			"text of 1001 bytes, SHA-256 cbe4a2e8", "text of 1001 bytes")
		require.NoError(t, rec.Close(1000, "bye"))
		rec.WantEnd(`sent close 1000 "bye"`, `close 1000 "bye" clean=true`)
		assert.ErrorIs(t, rec.Send("late"), edgews.ErrClosed)
		assert.ErrorIs(t, rec.SendBytes(nil), edgews.ErrClosed)
		assert.ErrorIs(t, rec.Close(1000, ""), edgews.ErrClosed)
		assert.Len(t, rec.Lines(), 9, "what was not sent has no line")
		assert.Empty(t, rec.Rest())
		assert.True(t, strings.HasPrefix(rec.String(), "text \"hello\"\nsent text "))
	})
}

// A loop of Receive, or of Messages, is recorded too, and the close event after it.
func TestRecorderOfALoop(t *testing.T) {
	for name, loop := range map[string]func(ctx context.Context, rec *edgewstest.Recorder){
		"Receive": func(ctx context.Context, rec *edgewstest.Recorder) {
			for _, err := rec.Receive(ctx); err == nil; _, err = rec.Receive(ctx) {
			}
		},
		"Messages": func(ctx context.Context, rec *edgewstest.Recorder) {
			for range rec.Messages(ctx) {
			}
		},
		"Messages that stop": func(ctx context.Context, rec *edgewstest.Recorder) {
			for {
				for _, err := range rec.Messages(ctx) {
					if err != nil {
						return
					}
					break
				}
				if rec.Socket().ReadyState() == edgews.Closed {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := edgews.NewPair()
				rec := edgewstest.Record(t, a)
				require.NoError(t, b.Accept())
				require.NoError(t, b.Send("1"))
				require.NoError(t, b.SendBytes([]byte("2")))
				require.NoError(t, b.Close(1001, "gone"))
				done := make(chan struct{})
				go func() {
					defer close(done)
					loop(t.Context(), rec)
				}()
				rec.WantEnd(`text "1"`, `binary "2"`, `close 1001 "gone" clean=true`)
				<-done
			})
		})
	}
}

// The sockets of NewWebSocket fire open, and an error when they cannot connect.
func TestRecorderOfErrors(t *testing.T) {
	s, err := edgews.NewWebSocket("ws://localhost:1/")
	require.NoError(t, err)
	rec := edgewstest.Record(t, s)
	rec.WantEnd("error failed to establish", `close 1006 "Failed to establish websocket connection" clean=false`)
}

// A transcript of one that waits: Want takes no time in a bubble, and lines are taken in order by several calls.
func TestRecorderWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec, peer := recorded(t)
		go func() {
			for _, text := range []string{"a", "b", "c"} {
				time.Sleep(50 * time.Second)
				peer.Send(text)
			}
		}()
		start := time.Now()
		rec.Want(`text "a"`)
		assert.Equal(t, 50*time.Second, time.Since(start))
		time.Sleep(2 * time.Minute)
		rec.Want(`text "b"`)
		assert.Equal(t, []string{`text "c"`}, rec.Rest())
		rec.Want(`text "c"`)
		rec.Want()
		rec.WantNothing(time.Hour)
		peer.Close(1000, "")
		rec.WantEnd(`close 1000 "" clean=true`)
		start = time.Now()
		rec.WantNothing(time.Hour)
		assert.Equal(t, time.Hour, time.Since(start), "also after the end")
	})
}

// The reports of tests that fail.
func TestRecorderDiffs(t *testing.T) {
	const head = "edgewstest: the socket did not do what the test wants (- wanted, + recorded):\n"
	long := strings.Repeat("0123456789", 30)
	cases := []struct {
		name string
		do   func(peer *edgews.Socket)
		want func(rec *edgewstest.Recorder)
		says string
	}{
		{"another text", func(peer *edgews.Socket) {
			peer.Send("welcome")
			peer.Send("how are they?")
			peer.Send("bye")
		}, func(rec *edgewstest.Recorder) {
			rec.Want(`text "welcome"`, `text "how are you?"`, `text "bye"`)
		}, head + `
    text "welcome"
  - text "how are you?"
  + text "how are they?"
                  ^
    text "bye"
`},
		{"a line is missing", func(peer *edgews.Socket) {
			peer.Send("1")
			peer.Send("3")
		}, func(rec *edgewstest.Recorder) {
			rec.Want(`text "1"`, `text "2"`, `text "3"`)
		}, head + `
    text "1"
  - text "2"
    text "3"
`},
		{"a line too many", func(peer *edgews.Socket) {
			for _, text := range []string{"1", "2", "3", "4"} {
				peer.Send(text)
			}
		}, func(rec *edgewstest.Recorder) {
			rec.Want(`text "1"`, `text "2"`)
			rec.Want(`text "4"`)
		}, head + `
    text "1"
    text "2"
  + text "3"
    text "4"
`},
		{"nothing comes", func(peer *edgews.Socket) { peer.Send("1") }, func(rec *edgewstest.Recorder) {
			rec.Want(`text "1"`, `text "2"`)
		}, head + `
    text "1"
  - text "2"
(nothing more has come for 1m0s; the socket is OPEN)
`},
		{"the socket has ended", func(peer *edgews.Socket) { peer.Close(1008, "too fast") }, func(rec *edgewstest.Recorder) {
			rec.Want(`close 1008 "too fast" clean=true`, `text "after it"`)
		}, head + `
    close 1008 "too fast" clean=true
  - text "after it"
(the socket has ended)
`},
		{"another end", func(peer *edgews.Socket) { peer.Close(1008, "too fast") }, func(rec *edgewstest.Recorder) {
			rec.WantEnd(`text "x"`, `close 1000 "" clean=true`)
		}, head + `
  - text "x"
  - close 1000 "" clean=true
  + close 1008 "too fast" clean=true
             ^
`},
		{"an event of another kind", func(peer *edgews.Socket) { peer.SendBytes([]byte("x")) }, func(rec *edgewstest.Recorder) {
			rec.Want(`text "x"`)
		}, head + `
  - text "x"
  + binary "x"
`},
		{"no end", func(peer *edgews.Socket) { peer.Send("last") }, func(rec *edgewstest.Recorder) {
			rec.WantEnd(`text "last"`)
		}, `edgewstest: the socket has not ended after 1m0s: it is OPEN
    text "last"
`},
		{"something instead of nothing", func(peer *edgews.Socket) {
			time.Sleep(time.Second)
			peer.Send("surprise")
		}, func(rec *edgewstest.Recorder) { rec.WantNothing(time.Hour) }, head + `
  + text "surprise"
`},
		{"many lines before", func(peer *edgews.Socket) {
			for range 10 {
				peer.Send("same")
			}
			peer.Send("other")
		}, func(rec *edgewstest.Recorder) {
			for range 11 {
				rec.Want(`text "same"`)
			}
		}, head + `
    (5 lines before)
    text "same"
    text "same"
    text "same"
    text "same"
    text "same"
  - text "same"
  + text "other"
          ^
`},
		{"long lines", func(peer *edgews.Socket) { peer.Send(long + "äöü" + long) }, func(rec *edgewstest.Recorder) {
			rec.Want(`text "` + long + "äÖü" + long + `"`)
		}, head + `
  - …` + long[2:60] + "äÖü" + long[:96] + `…
  + …` + long[2:60] + "äöü" + long[:96] + `…
     ` + strings.Repeat(" ", 59) + `^
`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reports := runTest(func(t testing.TB) {
					rec, peer := recorded(t)
					defer peer.Close(1000, "")
					go c.do(peer)
					c.want(rec)
					t.Error("Want has returned")
				})
				require.Len(t, reports, 1)
				assert.Equal(t, strings.Replace(c.says, "\n\n", "\n", 1), reports[0]) // head ends with a line break
			})
		})
	}
}

// Err is compared with the close event. A socket whose Err differs cannot be made, so the test compares with another line.
func TestWantEndWithoutAClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reports := runTest(func(t testing.TB) {
			rec, peer := recorded(t)
			peer.Close(1000, "")
			rec.Want(`close 1000 "" clean=true`)
			rec.Send("not sent")
			rec.WantEnd()
			t.Error("an end that was wanted before is no error")
		})
		assert.Equal(t, []string{"an end that was wanted before is no error"}, reports)
	})
}

// A recorder may be used by several goroutines at once.
func TestRecorderConcurrently(t *testing.T) {
	rec, peer := recorded(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 100 {
			rec.Send("x")
			rec.Lines()
		}
	}()
	for range 100 {
		peer.Send("y")
		_ = rec.String()
	}
	<-done
	peer.Close(1000, "")
	<-peer.Done()
	<-rec.Socket().Done()
	assert.Len(t, rec.Lines(), 201)
}
