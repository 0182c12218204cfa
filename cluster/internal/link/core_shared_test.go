package link

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wide are limits with room for many channels.
var wide = limits{ChannelWindow: 64 << 10, LinkWindow: 8 << 20, MaxMessage: 1 << 20, MaxChannels: 20000}

// twoEnds are the ends of a link whose bytes are carried at once.
type twoEnds struct {
	t        *testing.T
	ends     [2]*core
	channels [2][]*Channel
	arrived  [2]map[*Channel][]event // by the end that has got them
	bytes    [2]int                  // by the end that has sent them
	frames   [2]map[frameType]int
}

func newTwoEnds(t *testing.T, channels int) *twoEnds {
	e := &twoEnds{t: t}
	for i := range e.ends {
		e.ends[i] = newCore(i == 0, wide, simSecond)
		e.arrived[i] = make(map[*Channel][]event)
		e.frames[i] = make(map[frameType]int)
	}
	for i := range e.ends {
		e.ends[i].connected(wide, 1)
	}
	for range channels {
		ch := new(Channel)
		require.NoError(t, e.ends[0].open(ch, nil, 1))
		e.channels[0] = append(e.channels[0], ch)
		e.carry()
	}
	require.Len(t, e.channels[1], channels)
	e.bytes = [2]int{}
	for i := range e.frames {
		clear(e.frames[i])
	}
	return e
}

// carry carries everything, in both directions.
func (e *twoEnds) carry() {
	for !e.ends[0].idle() || !e.ends[1].idle() {
		e.carryFrom(0)
		e.carryFrom(1)
	}
}

func (e *twoEnds) carryFrom(from int) {
	b := e.ends[from].pull(nil, 1<<20)
	e.bytes[from] += len(b)
	to := e.ends[1-from]
	d := decoder{limit: 1 << 20, buf: b, end: len(b)}
	var f frame
	for {
		ok, err := d.next(&f)
		require.NoError(e.t, err)
		if !ok {
			break
		}
		e.frames[from][f.kind]++
		require.NoError(e.t, to.receive(&f))
	}
	for _, ev := range to.events {
		switch ev.kind {
		case eventOpen:
			e.channels[1-from] = append(e.channels[1-from], ev.ch)
		case eventMessage:
			ev.payload = bytes.Clone(ev.payload)
			e.arrived[1-from][ev.ch] = append(e.arrived[1-from][ev.ch], ev)
			to.consume(ev.ch, ev.seq)
		}
	}
	to.events = nil
}

// A message for 100 channels goes over the connection once, with some bytes for each channel; so do the acknowledgements.
func TestSharedMessageIsSentOnce(t *testing.T) {
	const channels = 100
	e := newTwoEnds(t, channels)
	p := bytes.Repeat([]byte("x"), 1024)
	for round := range 3 {
		p := bytes.Clone(p)
		for _, ch := range e.channels[1] {
			_, err := e.ends[1].send(ch, typeShared, p)
			require.NoError(t, err)
		}
		e.carry()
		assert.Equal(t, 1, e.frames[1][typeShared], "round %d", round)
		assert.Zero(t, e.frames[1][typeData])
		assert.Less(t, e.bytes[1], len(p)+4*channels)
		assert.Equal(t, 1, e.frames[0][typeAck])
		assert.Less(t, e.bytes[0], 5*channels)
		for _, ch := range e.channels[0] {
			require.Len(t, e.arrived[0][ch], round+1)
			require.Equal(t, p, e.arrived[0][ch][round].payload)
			require.Same(t, e.arrived[0][e.channels[0][0]][round].shared, e.arrived[0][ch][round].shared)
		}
		e.bytes = [2]int{}
		clear(e.frames[0])
		clear(e.frames[1])
	}
	for _, ch := range e.channels[1] {
		require.Nil(t, ch.head, "everything is consumed")
	}
}

// The writer may take data at any time: what follows refers to the message that the peer has already.
func TestSharedMessageThatIsPulledInBetween(t *testing.T) {
	const channels = 40
	e := newTwoEnds(t, channels)
	first, second := bytes.Repeat([]byte("1"), 1000), bytes.Repeat([]byte("2"), 1000)
	for _, ch := range e.channels[1] {
		for _, p := range [][]byte{first, second} {
			_, err := e.ends[1].send(ch, typeShared, p)
			require.NoError(t, err)
			e.carryFrom(1)
		}
	}
	e.carry()
	assert.Equal(t, 2*channels, e.frames[1][typeShared])
	assert.Less(t, e.bytes[1], len(first)+len(second)+2*channels*(headerLen+sharedHead)+channels*headerLen)
	for _, ch := range e.channels[0] {
		require.Len(t, e.arrived[0][ch], 2)
		require.Equal(t, first, e.arrived[0][ch][0].payload)
		require.Equal(t, second, e.arrived[0][ch][1].payload)
	}
}

// A channel whose window is full, or that has other messages before, does not hold up the others, and its order stays.
func TestSharedMessageBehindOthers(t *testing.T) {
	e := newTwoEnds(t, 4)
	p := []byte("to all")
	behind, full := e.channels[1][1], e.channels[1][2]
	_, err := e.ends[1].send(behind, typeData, []byte("before"))
	require.NoError(t, err)
	for {
		if _, err = e.ends[1].send(full, typeData, make([]byte, 8<<10)); err != nil {
			require.ErrorIs(t, err, ErrWindowFull)
			break
		}
	}
	for _, ch := range e.channels[1] {
		_, err := e.ends[1].send(ch, typeShared, p)
		if ch == full {
			_, err = e.ends[1].send(ch, typeShared, make([]byte, 8<<10))
			require.ErrorIs(t, err, ErrWindowFull)
			continue
		}
		require.NoError(t, err)
	}
	_, err = e.ends[1].send(e.channels[1][0], typeData, []byte("after"))
	require.NoError(t, err)
	e.carry()
	texts := func(i int) (all []string) {
		for _, ev := range e.arrived[0][e.channels[0][i]] {
			all = append(all, string(ev.payload))
		}
		return all
	}
	assert.Equal(t, []string{"to all", "after"}, texts(0))
	assert.Equal(t, []string{"before", "to all"}, texts(1))
	assert.Equal(t, []string{"to all"}, texts(3))
}

// Frames that no correct peer sends end the session with an error that says what is wrong.
func TestSharedFramesOfAHostilePeer(t *testing.T) {
	frameOf := func(number, size uint32, rest ...byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, number)
		return append(binary.BigEndian.AppendUint32(b, size), rest...)
	}
	tests := []struct {
		name    string
		kind    frameType
		code    uint16
		payload []byte
		want    string
	}{
		{"short", typeShared, 0, make([]byte, sharedHead-1), "a shared message of 7 bytes"},
		{"list longer than the frame", typeShared, 0, frameOf(1, 3, 1, 1), "a list of 3 bytes in a frame of 10 bytes"},
		{"list of the largest length", typeShared, 0, frameOf(1, 1<<32-1), "a list of 4294967295 bytes"},
		{"list that breaks off", typeShared, 0, frameOf(1, 1, 2, 'x'), "a list of channels that breaks off"},
		{"number that breaks off", typeShared, 0, frameOf(1, 2, 0x80, 0x80, 'x'), "a list of channels that breaks off"},
		{"number of more than 64 bits", typeShared, 0, frameOf(1, 11, bytes.Repeat([]byte{0xff}, 11)...), "a list of channels that breaks off"},
		{"too large", typeShared, 0, frameOf(1, 0, make([]byte, maxShared+1)...), "the limit is 33792"},
		{"again with a message", typeShared, 1, frameOf(1, 0, 'x'), "code 1 and 1 bytes"},
		{"unknown code", typeShared, 2, frameOf(1, 0), "code 2 and 0 bytes"},
		{"channel that was not opened", typeShared, 0, frameOf(1, 2, 20, 0, 'x'), "the channel 11, which was not opened"},
		{"acks that break off", typeAck, 0, []byte{2, 0}, "a list of acks that breaks off"},
		{"ack of what was not sent", typeAck, 0, []byte{2, 20, 0}, "is acknowledged"},
		{"more consumed than received", typeAck, 0, binary.AppendUvarint([]byte{2, 0}, 1<<32-1), "is acknowledged"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := newTwoEnds(t, 2)
			ch := e.channels[0][0]
			f := frame{
				version: 1, kind: test.kind, code: test.code, channel: ch.id, seq: 1, received: uint32(ch.received), consumed: uint32(ch.consumed),
				payload: test.payload,
			}
			err := e.ends[0].receive(&f)
			require.ErrorIs(t, err, ErrProtocol)
			assert.ErrorContains(t, err, test.want)
		})
	}
}
