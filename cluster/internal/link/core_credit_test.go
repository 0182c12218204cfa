package link

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A channel has filled the link's window; another one, which has sent nothing, waits for room. It is told when the first one is done, however
// that comes about.
func TestRoomIsHandedOn(t *testing.T) {
	for name, free := range map[string]func(s *simulation, a *Channel){
		"consumed":            func(s *simulation, a *Channel) { s.ends[1].core.consume(s.ends[1].core.channels[a.id], a.next-1) },
		"reset":               func(s *simulation, a *Channel) { s.ends[0].core.reset(a, 300, nil) },
		"reset by the peer":   func(s *simulation, a *Channel) { s.ends[1].core.reset(s.ends[1].core.channels[a.id], 300, nil) },
		"unknown to the peer": func(s *simulation, a *Channel) { s.ends[1].core.forget(s.ends[1].core.channels[a.id]) },
		"another, larger window": func(s *simulation, a *Channel) {
			s.ends[0].core.own.LinkWindow *= 2
			s.ends[1].core.own.LinkWindow *= 2
			s.connect()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSimulation(t, 1, small)
			c := s.ends[0].core
			channels := []*Channel{{}, {}, {}}
			for _, ch := range channels {
				require.NoError(t, c.open(ch, nil, 1))
			}
			rest := func() (writable []*Channel) {
				for range 100 {
					s.now += simSecond / 10
					for at, e := range s.ends {
						e.core.grantCredit()
						b := e.core.pull(nil, 1<<20)
						e.core.now = s.now
						e.core.tick()
						d := decoder{limit: 1 << 20, buf: b, end: len(b)}
						var f frame
						for ok := true; ok; {
							complete, err := d.next(&f)
							require.NoError(t, err)
							ok = complete
							if ok {
								require.NoError(t, s.ends[1-at].core.receive(&f))
							}
						}
					}
				}
				for _, e := range c.events {
					if e.kind == eventWritable {
						writable = append(writable, e.ch)
					}
				}
				c.events = nil
				return writable
			}
			require.Empty(t, rest(), "the opens are acknowledged")
			large := make([]byte, small.MaxMessage)
			_, err := c.send(channels[0], typeData, large)
			require.NoError(t, err)
			for _, ch := range channels[1:] {
				_, err = c.send(ch, typeData, large)
				require.ErrorIs(t, err, ErrWindowFull)
				ch.flags.set(flagWritableWanted)
			}
			require.Empty(t, rest())
			free(s, channels[0])
			writable := rest()
			require.NotEmpty(t, writable)
			assert.Same(t, channels[1], writable[0], "who has waited longest")
		})
	}
}

// A large message that waits for room does not hold up a small one for which there is room.
func TestLargeMessageHoldsUpNoOther(t *testing.T) {
	c := newCore(true, small, simSecond)
	c.peer = small
	channels := []*Channel{{}, {}, {}, {}}
	for _, ch := range channels {
		require.NoError(t, c.open(ch, nil, 1))
		c.acknowledge(ch, 0)
	}
	send := func(i, size int) error {
		_, err := c.send(channels[i], typeData, make([]byte, size))
		channels[i].flags.set(flagWritableWanted)
		return err
	}
	require.NoError(t, send(0, 12<<10)) // 8 KiB of the link's window
	require.NoError(t, send(1, 14<<10)) // 10 KiB
	require.ErrorIs(t, send(2, 16<<10), ErrWindowFull)
	require.ErrorIs(t, send(3, 8<<10), ErrWindowFull)
	c.acknowledge(channels[0], 1)
	c.grantCredit()
	require.Len(t, c.events, 1)
	assert.Same(t, channels[3], c.events[0].ch)
	c.acknowledge(channels[1], 1)
	c.grantCredit()
	require.Len(t, c.events, 2)
	assert.Same(t, channels[2], c.events[1].ch)
}

// A small message and a large one wait for room on the same channel: there is room for the small one first.
func TestSmallestMessageIsOfferedRoom(t *testing.T) {
	c := newCore(true, small, simSecond)
	c.connected(small, 1)
	ch := new(Channel)
	require.NoError(t, c.open(ch, nil, 1))
	c.acknowledge(ch, 0)
	for range 7 {
		_, err := c.send(ch, typeData, make([]byte, 1000))
		require.NoError(t, err)
	}
	ch.room = make(chan struct{}) // as Send does
	room := ch.room
	for _, size := range []int{1000, 8000, 2000} {
		_, err := c.send(ch, typeData, make([]byte, size))
		require.ErrorIs(t, err, ErrWindowFull)
	}
	c.acknowledge(ch, 1)
	c.offerRoom(ch)
	select {
	case <-room:
	default:
		t.Error("the message of 1000 bytes fits")
	}
}
