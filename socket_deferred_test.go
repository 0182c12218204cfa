package edgews_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// senderTest sends from an object's socket in every way, during commits and NextWriters, and knows what the other end has to receive.
type senderTest struct {
	*gateTest
	t     *testing.T
	dice  *dice
	meter *edgews.Meter
	raise func() // gives the other end of the pair to Respond; nil: that has been done, or never is

	passed     []string // what has to arrive now or has arrived
	held       []string // what arrives after the commit
	behind     []string // what arrives after the message of w
	w          io.WriteCloser
	streamed   strings.Builder
	committing bool
	got        []string

	messages, bytes, answers int64 // to be counted
	number                   int
}

func (s *senderTest) text() string {
	s.number++
	text := strconv.Itoa(s.number) + "."
	switch s.dice.upTo(8) {
	case 0:
		return text + strings.Repeat("compressible ", 400)
	case 1, 2:
		return text + strings.Repeat("compressible ", 10)
	case 3:
		b := make([]byte, 300+s.dice.upTo(5000))
		for i := range b {
			b[i] = 'a' + byte(s.dice.upTo(26))
		}
		return text + string(b)
	}
	return text
}

func (s *senderTest) sent(text string) {
	switch {
	case s.w != nil:
		s.behind = append(s.behind, text)
	case s.committing:
		s.held = append(s.held, text)
	default:
		s.passed = append(s.passed, text)
	}
}

func (s *senderTest) counts(text string, err error) {
	if err != nil {
		require.ErrorIs(s.t, err, edgews.ErrBufferFull)
		return
	}
	s.messages++
	s.bytes += int64(len(text))
	s.sent(text)
}

func (s *senderTest) write(text string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	err := s.server.Write(ctx, edgews.Text, []byte(text))
	if errors.Is(err, context.DeadlineExceeded) {
		return
	}
	require.NoError(s.t, err)
	s.counts(text, nil)
}

func (s *senderTest) begins() {
	ctx, cancel := context.WithCancel(context.Background())
	s.t.Cleanup(cancel)
	timer := time.AfterFunc(20*time.Millisecond, cancel)
	w, err := s.server.NextWriter(ctx, edgews.Text)
	timer.Stop()
	if err != nil {
		require.ErrorIs(s.t, err, context.Canceled)
		return
	}
	s.w = w
}

func (s *senderTest) streams(text string) {
	if s.server.BufferedAmount() > 1000 && (s.committing || s.raise != nil) {
		return // it might wait for room, for ever
	}
	n, err := io.WriteString(s.w, text)
	s.streamed.WriteString(text[:n])
	s.bytes += int64(n)
	require.NoError(s.t, err)
}

func (s *senderTest) ends() {
	require.NoError(s.t, s.w.Close())
	s.w = nil
	s.messages++
	s.sent(s.streamed.String())
	for _, text := range s.behind {
		s.sent(text)
	}
	s.behind = nil
	s.streamed.Reset()
}

// asks has an auto-response sent.
func (s *senderTest) asks() {
	if s.raise != nil || s.committing && (s.w != nil || len(s.held) == 0) {
		return // nobody can ask yet; or it depends on more whether the answer is held back
	}
	before := s.meter.Usage().AutoResponses
	require.NoError(s.t, s.client.Send("question"))
	require.NoError(s.t, flushFor(s.t, s.client, patience)) // or the ping might overtake it
	_, err := s.client.Ping(within(s.t))
	require.NoError(s.t, err)
	if s.meter.Usage().AutoResponses > before { // there was room
		s.answers++
		s.sent("answer")
	}
}

func (s *senderTest) commit() {
	if !s.committing {
		s.commits()
		s.committing = true
		return
	}
	if s.raise == nil {
		_, err := s.client.Ping(within(s.t)) // what is on its way is there before the pong
		require.NoError(s.t, err)
	}
	s.arrived(false)
	s.commitEnds()
}

// commitEnds ends the commit, if one is under way.
func (s *senderTest) commitEnds() {
	if !s.committing {
		return
	}
	s.committed(nil)
	s.committing = false
	s.passed = append(s.passed, s.held...)
	s.held = nil
}

// arrived checks that what has arrived is the beginning of what was sent; all: and that it is everything.
func (s *senderTest) arrived(all bool) {
	s.t.Helper()
	if s.raise != nil {
		return
	}
	if all {
		for len(s.got) < len(s.passed) {
			s.got = append(s.got, s.events.next())
		}
	}
	for !all && len(s.events.Rest()) > 0 {
		s.got = append(s.got, s.events.next())
	}
	require.LessOrEqual(s.t, len(s.got), len(s.passed), "%v", s.got[min(len(s.got), len(s.passed)):])
	for i, e := range s.got {
		require.Equal(s.t, message(s.passed[i]), e, "number %d", i)
	}
}

func (s *senderTest) step() {
	text := s.text()
	switch s.dice.upTo(14) {
	case 0:
		s.counts(text, s.server.SendPrepared(edgews.Prepare(edgews.Text, []byte(text))))
	case 1:
		if s.st.Broadcast(edgews.Prepare(edgews.Text, []byte(text))) == 1 {
			s.counts(text, nil)
		}
	case 2, 3:
		s.counts(text, s.server.Send(text))
	case 4:
		j := `"` + text + `"`
		s.counts(j, edgews.SendJSON(s.server, text))
	case 5:
		if s.w == nil && !s.committing {
			s.write(text)
		}
	case 6, 7, 8:
		if s.w == nil {
			s.begins()
		} else {
			s.streams(text)
		}
	case 9:
		if s.w != nil {
			s.ends()
		}
	case 10:
		s.asks()
	case 11, 12:
		s.commit()
	case 13:
		if s.raise != nil && s.dice.chance(50) {
			s.raise()
			s.raise = nil
		} else if s.raise == nil && !s.committing && s.w == nil {
			require.NoError(s.t, flushFor(s.t, s.server, patience))
			require.Zero(s.t, s.server.BufferedAmount())
		}
	}
	require.LessOrEqual(s.t, int64(s.server.BufferedAmount()), s.bytes+s.answers*int64(len("answer")))
}

// finish ends the socket in one of several ways, perhaps in the middle of a message or of a commit.
func (s *senderTest) finish() {
	if s.raise != nil {
		s.raise()
		s.raise = nil
	}
	end := closed(4000, "end", true)
	never := false // something can never arrive
	switch s.dice.upTo(6) {
	case 0: // everything arrives first
		if s.w != nil {
			s.ends()
		}
		s.commitEnds()
		s.arrived(true)
		require.NoError(s.t, flushFor(s.t, s.server, patience))
		require.Zero(s.t, s.server.BufferedAmount())
		require.NoError(s.t, s.server.Close(4000, "end"))
	case 1:
		never = len(s.behind) > 0
		require.NoError(s.t, s.server.Close(4000, "end"))
	case 2:
		require.NoError(s.t, s.client.Close(4000, "end"))
		waitDone(s.t, s.server)
	case 3:
		if !s.committing {
			s.commit()
		}
		never = len(s.held)+len(s.behind) > 0
		s.committed(io.ErrClosedPipe)
		s.committing, s.held = false, nil
		end = closed(1011, "storage failed", true)
	case 4:
		s.st.Abort(io.ErrNoProgress)
		end = closed(1011, io.ErrNoProgress.Error(), true)
	case 5:
		done := make(chan error)
		go func() { done <- s.Shutdown(s.t.Context()) }()
		eventually(s.t, func() bool { return s.server.ReadyState() != edgews.Open }, "Shutdown closes it")
		defer func() { assert.NoError(s.t, <-done) }()
		end = closed(1012, "service restart", true)
	}
	flushed := make(chan error)
	go func() { flushed <- flushFor(s.t, s.server, patience) }()
	s.commitEnds()
	s.arrived(true)
	s.events.wantsEnd(end)
	waitDone(s.t, s.server)
	used := s.meter.Usage()
	assert.Equal(s.t, s.messages, used.MessagesOut, "messages")
	assert.Equal(s.t, s.bytes, used.BytesOut, "bytes")
	assert.Equal(s.t, s.answers, used.AutoResponses, "answers")
	if err := <-flushed; err != nil || never { // it returns with the end of the socket, even if something can still arrive
		assert.ErrorIs(s.t, err, edgews.ErrClosed)
	}
	if err := flushFor(s.t, s.server, patience); err != nil || never {
		assert.ErrorIs(s.t, err, edgews.ErrClosed)
		assert.NotZero(s.t, s.server.BufferedAmount())
	} else {
		assert.Zero(s.t, s.server.BufferedAmount())
	}
}

// Whatever an object's socket sends, during commits, NextWriters and Respond, and however it ends: each message arrives once, in order, as
// soon as it may and no earlier, and counts once. It runs for hammerTime.
func TestSendersInAnyOrder(t *testing.T) {
	opts := edgews.Options{SendBuffer: 20_000, Compression: &edgews.Compression{Threshold: 100}}
	until := time.Now().Add(hammerTime())
	for seed := uint64(0); time.Now().Before(until) && !t.Failed(); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			both(t, opts, func(t *testing.T, client, server *edgews.Socket) {
				if seed%2 == 0 {
					client, server = server, client
				}
				s := newSenderTest(t, seed, server, opts)
				s.connected(client)
				s.run()
			})
			for _, where := range []network{overPipe, overTCP, overTLS} {
				t.Run("Respond", func(t *testing.T) {
					where.run(t, func(t *testing.T, where network) {
						client, server := edgews.NewPair()
						s := newSenderTest(t, seed, server, opts)
						s.raise = func() { s.connected(where.dialInto(t, client, server, opts)) }
						s.run()
					})
				})
			}
		})
	}
}

// dialInto gives client to Respond, for a request of a socket, which it returns.
func (p network) dialInto(t testing.TB, client, server *edgews.Socket, opts edgews.Options) *edgews.Socket {
	done := make(chan error, 1)
	_, url, httpClient := p.serve(t, func(w http.ResponseWriter, r *http.Request) {
		done <- edgews.Respond(w, r, client, &edgews.UpgradeOptions{Options: opts})
	})
	other, _, err := edgews.Dial(t.Context(), url, &edgews.DialOptions{Options: opts, HTTPClient: httpClient})
	require.NoError(t, err)
	require.NoError(t, <-done)
	endWith(t, other)
	endWith(t, server)
	return other
}

func newSenderTest(t *testing.T, seed uint64, server *edgews.Socket, opts edgews.Options) *senderTest {
	s := &senderTest{t: t, dice: &dice{random: rand.New(rand.NewPCG(seed, 9))}, meter: edgews.NewMeter(&edgews.MeterOptions{Logger: quiet})}
	opts.Meter = s.meter
	s.gateTest = newGate(t, server, opts, nil)
	require.NoError(t, s.st.SetAutoResponse(edgews.AutoResponse{Request: "question", Response: "answer"}))
	return s
}

// connected says that client is at the other end now.
func (s *senderTest) connected(client *edgews.Socket) {
	s.client, s.events = client, record(s.t, client)
	require.NoError(s.t, client.Accept())
}

func (s *senderTest) run() {
	for range 20 + s.dice.upTo(100) {
		s.step()
	}
	s.finish()
}
