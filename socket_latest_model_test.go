package edgews

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// modelMessage is a message, or a piece of one, of a sendModel.
type modelMessage struct {
	body      string
	key       string
	keyed     bool
	revocable bool
	during    bool // sent during a commit
}

func (m modelMessage) size() int {
	if m.keyed {
		return len(m.body) + len(m.key) + 192
	}
	return len(m.body) + 128
}

// sendModel says, in the simplest way, what one end of a pair does with what it sends.
type sendModel struct {
	overflow Overflow
	room     int

	link           []string       // what the other end has and has not taken
	due, behind    []modelMessage // what waits; behind a NextWriter's message
	gated          bool
	streaming      bool
	closing        bool // a Close has been sent
	closed         bool // and the link has it
	payload, size  int  // of what was discarded
	sent, sentSize int
	replaced       int
	droppedNewest  int
	droppedOldest  int
}

func (m *sendModel) waiting() []modelMessage { return slices.Concat(m.due, m.behind) }

// buffered returns what has not been taken, in bytes of payload and of SendBuffer.
func (m *sendModel) buffered() (payload, size int) {
	payload, size = m.payload, m.size
	for _, body := range m.link {
		payload += len(body)
		size += len(body) + 48
	}
	for _, p := range m.waiting() {
		payload += len(p.body)
		size += p.size()
	}
	return payload, size
}

func (m *sendModel) fits(n int) bool {
	_, size := m.buffered()
	return size == 0 || size+n <= m.room
}

func (m *sendModel) counts(body string, whole bool) {
	m.sentSize += len(body)
	if whole {
		m.sent++
	}
}

// send sends a message of Send or, with keyed, of SendLatest. It returns whether the message is taken.
func (m *sendModel) send(p modelMessage) bool {
	if m.closing {
		return false
	}
	p.during = m.gated
	for _, list := range [][]modelMessage{m.due, m.behind} {
		for i := range list {
			if was := &list[i]; p.keyed && was.keyed && was.revocable && was.key == p.key {
				p.revocable = true
				*was = p
				m.replaced++
				return true
			}
		}
	}
	p.revocable = p.keyed || m.overflow == OverflowDropOldest
	if !m.fits(len(p.body)) {
		switch {
		case m.overflow == OverflowDropOldest && m.makesRoom(p):
		case m.overflow == OverflowDrop && !p.keyed:
			m.droppedNewest++
			return true
		default:
			return false
		}
	}
	switch {
	case m.gated || m.streaming || len(m.due) > 0 || p.revocable && len(m.link) > 0:
		if m.streaming {
			m.behind = append(m.behind, p)
		} else {
			m.due = append(m.due, p)
		}
		if !p.revocable {
			m.counts(p.body, true)
		}
	default:
		m.counts(p.body, true)
		m.link = append(m.link, p.body)
	}
	m.release()
	return true
}

// makesRoom drops the oldest messages until p fits. A message of SendLatest that would not fit is not sent, and drops none.
func (m *sendModel) makesRoom(p modelMessage) bool {
	due, behind, dropped := slices.Clone(m.due), slices.Clone(m.behind), m.droppedOldest
	for _, list := range []*[]modelMessage{&m.due, &m.behind} {
		for i := 0; i < len(*list); {
			if _, size := m.buffered(); size+len(p.body) <= m.room {
				return true
			}
			if q := (*list)[i]; q.revocable && !q.keyed {
				*list = slices.Delete(*list, i, i+1)
				m.droppedOldest++
			} else {
				i++
			}
		}
	}
	if p.keyed && !m.fits(len(p.body)) {
		m.due, m.behind, m.droppedOldest = due, behind, dropped
		return false
	}
	return true
}

// release gives the link what need not wait.
func (m *sendModel) release() {
	for !m.gated && len(m.due) > 0 && (!m.due[0].revocable || len(m.link) == 0 || m.closing) {
		if m.due[0].revocable {
			m.counts(m.due[0].body, true)
		}
		m.link = append(m.link, m.due[0].body)
		m.due = m.due[1:]
	}
	if m.closing && !m.gated && !m.closed {
		m.closed = true
		m.discard(m.behind)
		m.behind = nil
	}
}

// discard counts messages that can never arrive.
func (m *sendModel) discard(all []modelMessage) {
	for _, p := range all {
		m.payload += len(p.body)
		m.size += p.size()
		if p.revocable {
			m.counts(p.body, true)
		}
	}
}

// streams sends a fragment of a NextWriter, unless there is no room.
func (m *sendModel) streams(body string, last bool) bool {
	only := len(m.link) == 0 && len(m.due) == 0 && m.size == 0
	if m.closing || !last && !m.fits(len(body)) && !only {
		return false
	}
	m.counts(body, last)
	if m.gated || len(m.due) > 0 {
		m.due = append(m.due, modelMessage{body: body, during: m.gated})
	} else {
		m.link = append(m.link, body)
	}
	if last {
		m.streaming = false
		m.due = append(m.due, m.behind...)
		m.behind = nil
	}
	m.release()
	return true
}

// commitEnds opens the gate.
func (m *sendModel) commitEnds(failed bool) {
	m.gated = false
	for _, list := range []*[]modelMessage{&m.due, &m.behind} {
		var kept, dropped []modelMessage
		for _, p := range *list {
			if failed && p.during {
				dropped = append(dropped, p)
			} else {
				p.during = false
				kept = append(kept, p)
			}
		}
		*list = kept
		m.discard(dropped)
	}
	if failed {
		m.closing = false
	}
	m.release()
}

// FuzzRevocable compares one end of a pair with a sendModel: what is at the other end, what is buffered and what is counted after each
// step.
func FuzzRevocable(f *testing.F) {
	for seed := range uint64(64) {
		r := rand.New(rand.NewPCG(seed, 1))
		steps := make([]byte, 400)
		for i := range steps {
			steps[i] = byte(r.Uint32())
		}
		f.Add(byte(seed), uint16(300<<(seed%4)), steps)
	}
	f.Fuzz(func(t *testing.T, overflow byte, room uint16, steps []byte) {
		client, s := NewPair()
		s.opts = Options{Overflow: []Overflow{OverflowError, OverflowDrop, OverflowDropOldest}[overflow%3], SendBuffer: int(room) + 1}.resolve()
		meter := NewMeter(nil)
		s.counter = newUsageCounter(meter, nil, s)
		s.phase, client.phase, client.consumer = phaseOpen, phaseOpen, toReceivers
		m := &sendModel{overflow: s.opts.Overflow, room: s.opts.SendBuffer}
		run := &modelRun{s: s, client: client, meter: meter, m: m}
		for i := 0; i+1 < len(steps) && !m.closed; i += 2 {
			run.step(t, i, steps[i], int(steps[i+1]))
			run.compare(t, "step %d", i)
		}
		run.m.gated, run.m.closing = false, true // only to see what is left
		run.m.release()
		s.mu.Lock()
		s.releaseOutputLocked()
		if !s.is(sentClose) {
			s.closeLinkLocked(closeFrame{})
		}
		s.mu.Unlock()
		for len(m.link) > 0 {
			run.take(t)
		}
		run.compare(t, "at the end")
	})
}

// modelRun does the same with a socket and a model of it.
type modelRun struct {
	s, client *Socket
	meter     *Meter
	m         *sendModel
}

// step does what op says, with arg.
func (r *modelRun) step(t *testing.T, number int, op byte, arg int) {
	s, m := r.s, r.m
	body := fmt.Sprintf("%d.", number)
	body += string(bytes.Repeat([]byte{'x'}, arg))
	switch op % 16 {
	case 0, 1, 2, 3, 4:
		key := fmt.Sprint(op / 16 % 5)
		r.took(t, m.send(modelMessage{body: body, key: key, keyed: true}), s.SendLatest(key, Text, []byte(body)))
	case 5, 6, 7:
		r.took(t, m.send(modelMessage{body: body}), s.Send(body))
	case 8:
		if !m.streaming && !m.closing {
			m.streaming = m.fits(0)
			r.took(t, m.streaming, s.send(outgoing{kind: Text, claims: true, wait: true}))
		} else if m.streaming {
			r.took(t, m.streams(body, false), s.send(outgoing{kind: Text, data: []byte(body), stream: true, wait: true}))
		}
	case 9:
		if m.streaming {
			r.took(t, m.streams(body, true), s.send(outgoing{kind: Text, data: []byte(body), stream: true, last: true, force: true}))
		}
	case 10:
		s.mu.Lock()
		s.holdOutputLocked()
		s.mu.Unlock()
		m.gated = true
	case 11:
		if failed := op >= 128 && op < 160; m.gated {
			m.commitEnds(failed)
			s.mu.Lock()
			if failed {
				s.dropOutputLocked()
				s.facts &^= sentClose
			} else {
				s.releaseOutputLocked()
			}
			s.mu.Unlock()
		}
	case 12:
		if op >= 240 && !m.closing {
			require.NoError(t, s.Close(1000, ""))
			m.closing = true
			m.release()
		}
	default:
		if len(m.link) > 0 {
			r.take(t)
		}
	}
}

func (r *modelRun) took(t *testing.T, want bool, err error) {
	t.Helper()
	require.Equal(t, want, err == nil, "%v", err)
}

// take takes the first message, or the first piece of one, at the other end.
func (r *modelRun) take(t *testing.T) {
	r.s.mu.Lock()
	it := r.client.popPieceLocked()
	r.s.mu.Unlock()
	require.Equal(t, r.m.link[0], string(it.buf.B))
	it.buf.Free()
	r.m.link = r.m.link[1:]
	r.m.release()
}

func (r *modelRun) compare(t *testing.T, when string, args ...any) {
	t.Helper()
	s, m := r.s, r.m
	s.mu.Lock()
	defer s.mu.Unlock()
	var link []string
	for _, it := range r.client.in.queue.Items() {
		link = append(link, string(it.buf.B))
	}
	require.Equal(t, slices.Concat(m.link), link, append([]any{when}, args...)...)
	var waiting []modelMessage
	if d := s.deferred; d != nil {
		for p := d.pieces.first; p != nil; p = p.next {
			waiting = append(waiting, modelMessage{string(p.body), p.key, p.keyed, p.revocable, p.duringCommit})
		}
		require.Equal(t, d.payload == 0 && d.size == 0, d.pieces.first == nil && m.size == 0)
		unsettled := 0
		for _, p := range waiting {
			if p.revocable {
				unsettled++
			}
		}
		require.Equal(t, unsettled, d.unsettled, append([]any{when}, args...)...)
	}
	require.Equal(t, m.waiting(), waiting, append([]any{when}, args...)...)
	payload, size := s.bufferedLocked()
	wantPayload, wantSize := m.buffered()
	require.Equal(t, []int{wantPayload, wantSize}, []int{payload, size}, append([]any{when}, args...)...)
	u := s.counter.used.Add(r.meter.bookedUsage()) // it is booked when the socket has ended
	require.Equal(t, []int{m.sent, m.sentSize, m.replaced, m.droppedNewest, m.droppedOldest},
		[]int{int(u.MessagesOut), int(u.BytesOut), int(u.Replaced), int(u.DroppedNewest), int(u.DroppedOldest)}, append([]any{when}, args...)...)
}
