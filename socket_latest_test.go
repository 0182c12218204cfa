package edgews_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// slowReaderTest has several goroutines send in all ways to a reader that is slow, and checks what arrives. A message is
// "source number padding"; each source numbers its own messages.
type slowReaderTest struct {
	t      *testing.T
	client *edgews.Socket
	server *edgews.Socket
	gate   *gateTest     // not nil: the server's socket is an object's, and commits are under way
	meter  *edgews.Meter // counts what server sends
	drops  bool          // OverflowDropOldest
	cut    bool          // Close comes while the goroutines send

	seed    uint64
	ctx     context.Context
	eager   sync.WaitGroup // the goroutines that send without waiting for room
	patient sync.WaitGroup // the others
	reads   chan struct{}  // the reader reads one message for each value
	freely  chan struct{}  // closed: it reads as fast as it can

	mu       sync.Mutex
	accepted map[string]int   // how many messages of a source have been taken
	last     map[string]int   // the number of the last one
	got      map[string][]int // the numbers that have arrived
}

// plainSource is the source whose messages OverflowDropOldest may drop. A source that begins with latestPrefix is a key of SendLatest.
const (
	plainSource  = "plain"
	latestPrefix = "latest"
)

// slowReaderMessages is the number of messages that each eager goroutine sends.
const slowReaderMessages = 300

func (r *slowReaderTest) body(random *rand.Rand, source string, number int) string {
	size := random.IntN(300)
	if random.IntN(4) == 0 {
		size = random.IntN(6000)
	}
	noise := make([]byte, size/4) // which compression does not make much smaller
	for i := range noise {
		noise[i] = byte('0' + random.IntN(70))
	}
	return fmt.Sprintf("%s %d %s%s", source, number, noise, strings.Repeat("compressible ", size/20))
}

func (r *slowReaderTest) takes(source string, number int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.accepted[source]++
	r.last[source] = number
}

// from sends count messages with send. It stops when Close has come.
func (r *slowReaderTest) from(stream uint64, count int, source func(*rand.Rand) string, send func(source, body string) error) func() {
	random := rand.New(rand.NewPCG(r.seed, stream))
	return func() {
		for number := 1; number <= count; number++ {
			key := source(random)
			switch err := send(key, r.body(random, key, number)); {
			case err == nil:
				r.takes(key, number)
			case !errors.Is(err, edgews.ErrBufferFull):
				assert.ErrorIs(r.t, err, edgews.ErrClosed)
				assert.True(r.t, r.cut, "%v", err)
				return
			}
			if random.IntN(8) == 0 {
				select {
				case r.reads <- struct{}{}:
				default:
				}
			}
		}
	}
}

func alwaysFrom(source string) func(*rand.Rand) string {
	return func(*rand.Rand) string { return source }
}

// sends starts the goroutines that send.
func (r *slowReaderTest) sends() {
	for i := range 3 {
		keys := func(random *rand.Rand) string { return fmt.Sprint(latestPrefix, i, "-", random.IntN(4)) }
		r.eager.Go(r.from(uint64(i), slowReaderMessages, keys, func(key, body string) error {
			return r.server.SendLatest(key, edgews.Text, []byte(body))
		}))
	}
	r.eager.Go(r.from(10, slowReaderMessages, alwaysFrom(plainSource), func(_, body string) error {
		if len(body)%5 == 0 {
			return r.server.SendPrepared(edgews.Prepare(edgews.Text, []byte(body)))
		}
		return r.server.Send(body)
	}))
	r.patient.Go(r.from(11, slowReaderMessages/10, alwaysFrom("wait"), func(_, body string) error {
		return r.server.Write(r.ctx, edgews.Text, []byte(body))
	}))
	if !r.cut { // Close drops what waits behind an unfinished message
		r.patient.Go(r.from(12, slowReaderMessages/10, alwaysFrom("pieces"), r.sendInPieces))
	}
}

func (r *slowReaderTest) sendInPieces(_, body string) error {
	w, err := r.server.NextWriter(r.ctx, edgews.Text)
	if err != nil {
		return err
	}
	for len(body) > 0 {
		n := min(len(body), 700)
		if _, err := io.WriteString(w, body[:n]); err != nil {
			return err
		}
		body = body[n:]
	}
	return w.Close()
}

// read receives messages until the end of the client, and returns how it has ended.
func (r *slowReaderTest) read() error {
	for {
		select {
		case <-r.reads:
		case <-r.freely:
		}
		m, err := r.client.Receive(context.Background())
		if err != nil {
			return err
		}
		words := strings.SplitN(m.Text(), " ", 3)
		n, err := strconv.Atoi(words[1])
		assert.NoError(r.t, err, m.Text())
		r.mu.Lock()
		r.got[words[0]] = append(r.got[words[0]], n)
		r.mu.Unlock()
	}
}

// run has everything sent and read.
func (r *slowReaderTest) run() {
	t := r.t
	before := r.meter.Usage()
	r.ctx, r.reads, r.freely = within(t), make(chan struct{}, 1), make(chan struct{})
	r.accepted, r.last, r.got = make(map[string]int), make(map[string]int), make(map[string][]int)
	ended := make(chan error, 1)
	go func() { ended <- r.read() }()
	r.sends()
	sent := make(chan struct{})
	go func() { r.eager.Wait(); close(sent) }()
	if r.cut {
		r.closesMeanwhile(sent)
	} else {
		r.closesAfterwards(sent)
	}
	var end *edgews.CloseError
	require.ErrorAs(t, <-ended, &end)
	assert.Equal(t, edgews.StatusCode(4000), end.Code)
	assert.True(t, end.WasClean)
	r.eager.Wait()
	r.patient.Wait()
	waitDone(t, r.server)
	r.check(r.meter.Usage().Sub(before))
}

// commitsUntil makes commits, one after another, until the goroutines have sent a part of their messages.
func (r *slowReaderTest) commitsUntil(over func() bool) {
	for !over() {
		if r.gate != nil {
			r.gate.commits()
			runtime.Gosched()
			r.gate.committed(nil)
		}
		select {
		case r.reads <- struct{}{}:
		default:
		}
		runtime.Gosched()
	}
}

func (r *slowReaderTest) closesMeanwhile(sent chan struct{}) {
	r.commitsUntil(func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.accepted[plainSource] > slowReaderMessages/4 || isClosed(sent)
	})
	if r.gate != nil {
		r.gate.commits()
		defer r.gate.committed(nil)
	}
	assert.NoError(r.t, r.server.Close(4000, "end"))
	close(r.freely)
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (r *slowReaderTest) closesAfterwards(sent chan struct{}) {
	r.commitsUntil(func() bool { return isClosed(sent) })
	if r.server.Send(plainSource+" 1000000 ") == nil { // the newest message: nothing drops it
		r.takes(plainSource, 1000000)
	}
	close(r.freely)
	r.patient.Wait()
	assert.NoError(r.t, flushFor(r.t, r.server, patience))
	assert.Zero(r.t, r.server.BufferedAmount())
	assert.NoError(r.t, r.server.Close(4000, "end"))
}

// check compares what has arrived with what was taken, and with what was counted.
func (r *slowReaderTest) check(used edgews.Usage) {
	t := r.t
	arrived, taken := 0, 0
	for source, numbers := range r.got {
		arrived += len(numbers)
		for i := range numbers[1:] {
			require.Less(t, numbers[i], numbers[i+1], "%s arrives in order, each message once", source)
		}
	}
	for source, n := range r.accepted {
		taken += n
		latest, droppable := strings.HasPrefix(source, latestPrefix), r.drops && source == plainSource
		if latest || droppable && !r.cut { // during a cut, a new key may drop the newest one
			require.NotEmpty(t, r.got[source])
			require.Equal(t, r.last[source], r.got[source][len(r.got[source])-1], "the last message of %s", source)
		}
		if !latest && !droppable {
			require.Len(t, r.got[source], n, source)
		}
	}
	assert.EqualValues(t, arrived, used.MessagesOut)
	assert.EqualValues(t, taken, used.MessagesOut+used.Replaced+used.DroppedOldest)
	assert.Zero(t, used.DroppedNewest)
	assert.True(t, r.drops || used.DroppedOldest == 0)
	t.Logf("%d sent, %d arrived, %d replaced, %d dropped", taken, arrived, used.Replaced, used.DroppedOldest)
}

// withSmallBuffers returns a real network whose connections hold little, so that the queues of sockets fill.
func withSmallBuffers(name string, secure bool) network {
	return network{name: name, real: true, serve: func(t testing.TB, handler http.HandlerFunc) (func() net.Conn, string, *http.Client) {
		server := httptest.NewUnstartedServer(handler)
		server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			if secured, ok := c.(*tls.Conn); ok {
				c = secured.NetConn()
			}
			assert.NoError(t, c.(*net.TCPConn).SetWriteBuffer(64<<10))
			return ctx
		}
		if secure {
			server.StartTLS()
		} else {
			server.Start()
		}
		t.Cleanup(server.Close)
		return dialer(t, server), server.URL, server.Client()
	}}
}

// connectsInMemory returns the ends of a socket of Stub.Connect, not accepted. The server's has opts.
func connectsInMemory(t *testing.T, opts edgews.Options) (client, server *edgews.Socket) {
	n := newRooms(t, &edgews.NamespaceOptions{Options: opts}, func(o *room) {
		o.serve = func(w http.ResponseWriter, r *http.Request) {
			var err error
			server, err = edgews.Upgrade(w, r, nil)
			assert.NoError(t, err)
		}
	})
	stub := n.Get(n.IDFromName("a"))
	client, _, err := stub.Connect(within(t), nil)
	require.NoError(t, err)
	require.NoError(t, stub.Do(within(t), func(context.Context, edgews.Object) error { return nil })) // the event is over
	return client, server
}

// slowReaderNetworks are a wrapped connection, TCP and TLS.
func slowReaderNetworks() []network {
	return []network{overPipe, withSmallBuffers("tcp", false), withSmallBuffers("tls", true)}
}

// Of each key the last value arrives, and what arrives of a source is in order; what waits for room arrives completely; every message is
// counted once: over every link, with and without compression, outside and inside an object whose commits are under way, and also if
// Close comes meanwhile.
func TestSlowReaders(t *testing.T) {
	compressions := map[string]edgews.Compression{"uncompressed": {Disable: true}, "takeover": {Threshold: 100}, "no takeover": {Threshold: 100, NoContextTakeover: true}}
	for name, compression := range compressions {
		for _, overflow := range []edgews.Overflow{edgews.OverflowError, edgews.OverflowDropOldest} {
			for variant := range 4 {
				cut, inObject := variant%2 == 1, variant/2 == 1
				opts := edgews.Options{SendBuffer: 30_000, Overflow: overflow, Compression: &compression, KeepAlive: -1, Meter: edgews.NewMeter(nil)}
				testSlowReader := func(t *testing.T, client, server *edgews.Socket) {
					r := &slowReaderTest{t: t, client: client, server: server, meter: opts.Meter, drops: overflow == edgews.OverflowDropOldest, cut: cut, seed: uint64(variant)}
					if inObject {
						r.gate = newGate(t, server, opts, nil)
					}
					require.True(t, inObject || server.Accept() == nil)
					r.run()
				}
				t.Run(fmt.Sprintf("%s, overflow %d, cut %v, in object %v", name, overflow, cut, inObject), func(t *testing.T) {
					for _, where := range slowReaderNetworks() {
						where.run(t, func(t *testing.T, where network) {
							client, server := where.connect(t, opts)
							testSlowReader(t, client, server)
						})
					}
					if !inObject {
						bubble(t, func(t *testing.T) {
							client, server := connectsInMemory(t, opts)
							testSlowReader(t, client, server)
						})
					}
					if inObject && overflow == edgews.OverflowError { // of a pair outside an object nothing is counted
						bubble(t, func(t *testing.T) {
							client, server := edgews.NewPair()
							testSlowReader(t, client, server)
						})
					}
				})
			}
		}
	}
}

// What waits when a half-open socket is lost counts as sent, over a pair as over a connection.
func TestSendLatestHalfOpen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		opts := edgews.Options{Overflow: edgews.OverflowDropOldest, KeepAlive: -1, CloseTimeout: 10 * time.Second, Meter: edgews.NewMeter(nil)}
		for name, connect := range map[string]func() (client, server *edgews.Socket){
			"pair": func() (client, server *edgews.Socket) { return connectsInMemory(t, opts) },
			"pipe": func() (client, server *edgews.Socket) { return overPipe.connect(t, opts) },
		} {
			client, server := connect()
			before := opts.Meter.Usage()
			require.NoError(t, server.AcceptHalfOpen())
			acceptsToReceive(t, client)
			require.NoError(t, client.Close(1000, ""))
			waitDone(t, server)
			for i := range 5 {
				require.NoError(t, server.SendLatest(strconv.Itoa(i), edgews.Text, make([]byte, 100<<10)))
				require.NoError(t, server.Send("plain"))
			}
			waitDone(t, client)
			synctest.Wait()
			assert.Equal(t, edgews.Closed, server.ReadyState(), name)
			assert.EqualValues(t, 10, opts.Meter.Usage().Sub(before).MessagesOut, name)
		}
	})
}
