package link

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// simulation runs the two ends of a session over a network that loses frames and breaks, in virtual time, against a naive model: what was
// sent on a channel, in order, is what arrives.
type simulation struct {
	t        *testing.T
	rnd      *rand.Rand
	ends     [2]*simEnd // 0 dials
	loss     float64    // the part of the frames that is lost
	channels []*simChannel
	now      int64
}

// simEnd is one end with the bytes that are on their way to it.
type simEnd struct {
	core    *core
	arrives []byte
	decoder decoder
}

// simChannel is the naive model of one channel: for each direction, what was sent and how much of it has arrived.
type simChannel struct {
	channel [2]*Channel
	first   uint64
	dir     [2]simDirection // by the sender
	reset   bool            // by either end: nothing is promised any more
	closed  [2]int          // how often closed was told
	err     [2]error
}

type simDirection struct {
	sent       [][]byte
	arrived    int
	consumed   int
	ended      bool // End was called
	endArrived bool
	blocked    bool
}

const simSecond = int64(1e9)

func newSimulation(t *testing.T, seed uint64, own limits) *simulation {
	s := &simulation{t: t, rnd: rand.New(rand.NewPCG(seed, 1))}
	for i := range s.ends {
		s.ends[i] = &simEnd{core: newCore(i == 0, own, simSecond)}
		s.ends[i].decoder.limit = 8 + maxGreeting
	}
	s.connect()
	return s
}

// connect breaks the connection, if there is one, and begins another.
func (s *simulation) connect() {
	for i, e := range s.ends {
		e.arrives = nil
		e.decoder = decoder{limit: e.decoder.limit}
		e.core.connected(s.ends[1-i].core.own, 1)
	}
}

func (s *simulation) open() {
	ch := &simChannel{first: 1}
	switch s.rnd.IntN(4) {
	case 0:
		ch.first = 1<<32 - uint64(s.rnd.IntN(20)) // wraps on the wire
	case 1:
		ch.first = -uint64(s.rnd.IntN(20)) // wraps in the counters
	}
	ch.channel[0] = new(Channel)
	index := binary.BigEndian.AppendUint32(nil, uint32(len(s.channels)))
	err := s.ends[0].core.open(ch.channel[0], append(index, make([]byte, s.rnd.IntN(50))...), ch.first)
	if err != nil {
		require.ErrorIs(s.t, err, ErrTooManyChannels)
		return
	}
	s.channels = append(s.channels, ch)
}

func (s *simulation) send(from int, ch *simChannel) {
	d := &ch.dir[from]
	p := make([]byte, s.rnd.IntN(300))
	if s.rnd.IntN(50) == 0 {
		p = make([]byte, s.rnd.IntN(s.ends[from].core.own.MaxMessage))
	}
	for i := range p {
		p[i] = byte(len(d.sent) + i)
	}
	s.sendMessage(from, ch, typeData, p)
}

// broadcast sends one message on some channels, and others in between.
func (s *simulation) broadcast(from int) {
	p := make([]byte, 1+s.rnd.IntN(300))
	for i := range p {
		p[i] = byte(s.rnd.Uint32())
	}
	for _, ch := range s.channels {
		if ch.channel[from] == nil || s.rnd.IntN(5) == 0 {
			continue
		}
		if s.rnd.IntN(10) == 0 {
			s.send(from, ch)
		}
		if s.rnd.IntN(10) == 0 {
			s.transmit(from)
		}
		s.sendMessage(from, ch, typeShared, p)
	}
}

// sendMessage sends p, of the kind.
func (s *simulation) sendMessage(from int, ch *simChannel, kind frameType, p []byte) {
	d := &ch.dir[from]
	seq, err := s.ends[from].core.send(ch.channel[from], kind, p)
	if ch.reset { // the other end learns of it some time
		return
	}
	if d.ended || ch.closed[from] > 0 {
		require.ErrorIs(s.t, err, ErrEnded)
		return
	}
	if err != nil {
		require.ErrorIs(s.t, err, ErrWindowFull)
		ch.channel[from].flags.set(flagWritableWanted)
		d.blocked = true
		return
	}
	first := uint64(1)
	if from == 0 {
		first = ch.first
	}
	require.Equal(s.t, first+uint64(len(d.sent)), seq)
	d.sent = append(d.sent, p)
}

// consume consumes some of what has arrived at an end.
func (s *simulation) consume(at int, ch *simChannel, all bool) {
	d := &ch.dir[1-at]
	if d.arrived == d.consumed || ch.channel[at] == nil {
		return
	}
	n := d.arrived - d.consumed
	if !all {
		n = 1 + s.rnd.IntN(n)
	}
	d.consumed += n
	first := uint64(1)
	if at == 1 {
		first = ch.first
	}
	s.ends[at].core.consume(ch.channel[at], first+uint64(d.consumed)-1)
	s.tell(at)
}

// tell checks the events of an end against the model.
func (s *simulation) tell(at int) {
	c := s.ends[at].core
	c.grantCredit()
	events := c.events
	c.events = nil
	for _, e := range events {
		if e.kind == eventOpen {
			ch := s.channels[binary.BigEndian.Uint32(e.payload)]
			require.Nil(s.t, ch.channel[at], "opened twice")
			ch.channel[at] = e.ch
			continue
		}
		var ch *simChannel
		for _, candidate := range s.channels {
			if candidate.channel[at] == e.ch {
				ch = candidate
			}
		}
		require.NotNil(s.t, ch)
		require.Zero(s.t, ch.closed[at], "an event after the last one")
		d := &ch.dir[1-at]
		switch e.kind {
		case eventMessage:
			require.Less(s.t, d.arrived, len(d.sent))
			require.True(s.t, bytes.Equal(d.sent[d.arrived], e.payload), "message %d", d.arrived)
			first := uint64(1)
			if at == 1 {
				first = ch.first
			}
			require.Equal(s.t, first+uint64(d.arrived), e.seq)
			require.False(s.t, d.endArrived)
			d.arrived++
		case eventEnded:
			require.True(s.t, d.ended)
			require.Equal(s.t, len(d.sent), d.arrived)
			require.Equal(s.t, fmt.Sprint(len(d.sent)), string(e.payload))
			require.False(s.t, d.endArrived)
			d.endArrived = true
		case eventWritable:
			ch.dir[at].blocked = false
		case eventClosed:
			ch.closed[at]++
			ch.err[at] = e.err
		}
	}
}

// transmit moves what an end has to send into the network, without the frames that are lost.
func (s *simulation) transmit(from int) {
	c := s.ends[from].core
	c.now = s.now
	c.tick()
	b := c.pull(nil, 1+s.rnd.IntN(4000))
	s.tell(from)
	d := decoder{limit: 8 + maxGreeting, buf: b, end: len(b)}
	var f frame
	for {
		ok, err := d.next(&f)
		require.NoError(s.t, err)
		if !ok {
			require.Equal(s.t, d.end, d.start, "pull returns whole frames")
			return
		}
		if s.rnd.Float64() >= s.loss {
			s.ends[1-from].arrives = appendFrame(s.ends[1-from].arrives, &f)
		}
	}
}

// arrive hands some bytes of the network to an end.
func (s *simulation) arrive(at int) {
	e := s.ends[at]
	e.core.now = s.now
	n := min(len(e.arrives), 1+s.rnd.IntN(5000))
	for n > 0 {
		k := copy(e.decoder.space(), e.arrives[:n])
		e.decoder.advance(k)
		e.arrives = e.arrives[k:]
		n -= k
		var f frame
		for {
			ok, err := e.decoder.next(&f)
			require.NoError(s.t, err)
			if !ok {
				break
			}
			require.NoError(s.t, e.core.receive(&f))
			s.tell(at)
		}
	}
	s.checkBounds(e.core)
}

// checkBounds checks that the sums are those of the channels, and within the limits.
func (s *simulation) checkBounds(c *core) {
	out, in := 0, 0
	for _, ch := range c.channels {
		cost, n := 0, 0
		for f := ch.head; f != nil; f = f.next {
			cost += int(f.cost)
			n++
		}
		require.Equal(s.t, cost, ch.outBytes)
		received := 0
		for _, size := range ch.inSizes {
			received += int(size)
		}
		require.Equal(s.t, received, ch.inBytes)
		require.LessOrEqual(s.t, ch.inBytes, max(c.own.ChannelWindow, c.own.MaxMessage+messageCost))
		out += shared(cost)
		in += shared(received)
	}
	require.Equal(s.t, out, c.outUsed)
	require.Equal(s.t, in, c.inUsed)
	require.LessOrEqual(s.t, in, c.own.LinkWindow)
	require.LessOrEqual(s.t, len(c.channels), c.own.MaxChannels)
}

func (s *simulation) step() {
	switch s.rnd.IntN(30) {
	case 0:
		s.now += s.rnd.Int64N(simSecond)
	case 1:
		if s.rnd.IntN(8) == 0 {
			s.connect()
			s.tell(0)
			s.tell(1)
		}
	case 2, 3:
		if s.rnd.IntN(4) == 0 {
			s.open()
		}
	case 4, 5, 6, 7, 8, 9:
		s.transmit(s.rnd.IntN(2))
	case 10, 11, 12, 13, 14, 15:
		s.arrive(s.rnd.IntN(2))
	default:
		s.act()
	}
}

// act does something with a channel.
func (s *simulation) act() {
	if len(s.channels) == 0 {
		return
	}
	ch := s.channels[s.rnd.IntN(len(s.channels))]
	end := s.rnd.IntN(2)
	if ch.channel[end] == nil {
		return
	}
	c := s.ends[end].core
	switch s.rnd.IntN(60) {
	case 0, 1:
		err := c.end(ch.channel[end], fmt.Append(nil, len(ch.dir[end].sent)))
		if !ch.dir[end].ended && !ch.reset && ch.closed[end] == 0 {
			require.NoError(s.t, err)
			ch.dir[end].ended = true
		}
	case 2:
		if s.rnd.IntN(4) == 0 {
			ch.reset = true
			c.reset(ch.channel[end], 300, []byte("bye"))
			s.tell(end)
		}
	case 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20:
		s.consume(end, ch, false)
	case 21, 22, 23, 24:
		s.broadcast(end)
	default:
		s.send(end, ch)
	}
}

// exchange lets some time pass, in which everything that arrives is consumed.
func (s *simulation) exchange() {
	s.now += simSecond / 10
	for at := range s.ends {
		s.transmit(at)
		s.arrive(at)
		for _, ch := range s.channels {
			s.consume(at, ch, true)
		}
	}
}

// settle ends everything over a network without losses, and checks that nothing is missing and nothing is left.
func (s *simulation) settle() {
	s.loss = 0
	for range 300 {
		s.exchange()
	}
	for i, ch := range s.channels {
		for at, d := range ch.dir {
			waits := d.blocked && !d.ended && !ch.reset && ch.closed[at] == 0
			require.False(s.t, waits, "channel %d, end %d: nothing is on the way, and there is no room", i, at)
		}
	}
	for round := 0; ; round++ {
		require.Less(s.t, round, 2000, "the ends do not come to rest")
		s.exchange()
		for at := range s.ends {
			for _, ch := range s.channels {
				if ch.channel[at] != nil && !ch.dir[at].ended && !ch.reset && ch.closed[at] == 0 {
					require.NoError(s.t, s.ends[at].core.end(ch.channel[at], fmt.Append(nil, len(ch.dir[at].sent))))
					ch.dir[at].ended = true
				}
			}
		}
		if len(s.ends[0].core.channels) == 0 && len(s.ends[1].core.channels) == 0 {
			break
		}
	}
	for i, ch := range s.channels {
		if ch.reset {
			continue
		}
		for at := range s.ends {
			require.Equal(s.t, 1, ch.closed[at], "channel %d, end %d", i, at)
			require.NoError(s.t, ch.err[at], "channel %d, end %d", i, at)
			d := ch.dir[at]
			require.Equal(s.t, len(d.sent), d.arrived, "channel %d, from %d", i, at)
			require.True(s.t, d.endArrived)
		}
	}
	for _, e := range s.ends {
		s.checkBounds(e.core)
		require.Nil(s.t, e.core.waitHead)
		require.Zero(s.t, e.core.outUsed)
		require.Zero(s.t, e.core.inUsed)
	}
}

// small are limits that random traffic reaches.
var small = limits{ChannelWindow: 8 << 10, LinkWindow: 20 << 10, MaxMessage: 16 << 10, MaxChannels: 12}

func TestRandomTraffic(t *testing.T) {
	for _, loss := range []float64{0, 0.02, 0.3} {
		t.Run(fmt.Sprint("loss ", loss), func(t *testing.T) {
			seeds := uint64(25)
			if testing.Short() {
				seeds = 10
			}
			for seed := range seeds {
				s := newSimulation(t, seed, small)
				s.loss = loss
				for range 3000 {
					s.step()
				}
				s.settle()
			}
		})
	}
}
