package cluster

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/edgews/edgews/cluster/internal/link"
)

// edgeBody is the body of a client's request. What has been read is kept until a home has consumed some of it: a node that is not the home has
// not, and then the body is sent to the next one from its beginning.
type edgeBody struct {
	done chan struct{} // closed when nothing is read any more

	mu      sync.Mutex
	chunks  [][]byte      // what is kept
	first   int           // the number of the first chunk that is kept
	sent    int           // how many chunks have been sent to the present home
	size    int           // of the chunks that are kept, in bytes
	end     error         // what follows the chunks; nil: more may come
	stopped bool          // no home wants more
	changed chan struct{} // closed when one of these changes
}

// maxKeptBody is how many bytes of a body are kept: more than a home gets that does not consume any.
const maxKeptBody = 192 << 10

func newEdgeBody(r io.Reader) *edgeBody {
	b := &edgeBody{done: make(chan struct{}), changed: make(chan struct{})}
	go b.read(r)
	return b
}

// changedLocked wakes those who wait for a change. mu must be held.
func (b *edgeBody) changedLocked() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// read reads the body, no further ahead of the home than a few chunks.
func (b *edgeBody) read(r io.Reader) {
	defer close(b.done)
	buf := make([]byte, maxBodyMessage)
	for b.awaitDemand() {
		n, err := r.Read(buf)
		b.mu.Lock()
		if n > 0 {
			b.chunks = append(b.chunks, bytes.Clone(buf[:n]))
			b.size += n
			for b.size > maxKeptBody && b.first < b.sent {
				b.size -= len(b.chunks[0])
				b.chunks[0] = nil
				b.chunks = b.chunks[1:]
				b.first++
			}
		}
		b.end = err
		b.changedLocked()
		b.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// awaitDemand waits until a home wants more. It returns false if none does any more.
func (b *edgeBody) awaitDemand() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.stopped && len(b.chunks) > b.sent-b.first+1 {
		changed := b.changed
		b.mu.Unlock()
		<-changed
		b.mu.Lock()
	}
	return !b.stopped
}

// isComplete reports whether the body can be sent from its beginning.
func (b *edgeBody) isComplete() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.first == 0
}

// next returns the next chunk for the present home, or what follows the chunks.
func (b *edgeBody) next(ctx context.Context) (chunk []byte, end error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch i := b.sent - b.first; {
		case i < 0:
			return nil, errNotKept
		case i < len(b.chunks):
			return b.chunks[i], nil
		case b.end != nil:
			return nil, b.end
		}
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		b.mu.Lock()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// errNotKept is for a body of which too much has been sent before to be sent again.
var errNotKept = errors.New("edgews: the beginning of the body is not kept")

// sendTo sends the body to a home, from its beginning, until ctx ends.
func (b *edgeBody) sendTo(ctx context.Context, ch *link.Channel) {
	b.mu.Lock()
	b.sent = 0
	b.mu.Unlock()
	for {
		chunk, err := b.next(ctx)
		switch {
		case err == io.EOF:
			_ = ch.End(nil)
			return
		case ctx.Err() != nil:
			return
		case err != nil:
			_, _ = ch.Send(ctx, nil) // an empty message: the body is broken off
			return
		}
		if _, err := ch.Send(ctx, chunk); err != nil {
			return
		}
		b.mu.Lock()
		b.sent++
		b.changedLocked()
		b.mu.Unlock()
	}
}

// closeUnlessRead has net/http close the connection behind the answer if the body may not have been read to its end: with full duplex net/http
// would take the rest for the next request. It is called before the header of the answer is written. A nil body has nothing to read.
func (b *edgeBody) closeUnlessRead(w http.ResponseWriter, r *http.Request) {
	if b == nil || r.ProtoMajor != 1 { // the streams of HTTP/2 end by themselves, and "close" would end all of them
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.end != io.EOF {
		w.Header().Set("Connection", "close")
	}
}

// stop ends the reading of the body, before the handler returns: net/http does not allow it afterwards. A client that has not sent all of it
// is not waited for, and the connection is not used again.
func (b *edgeBody) stop(w http.ResponseWriter, r *http.Request) {
	b.closeUnlessRead(w, r) // if the answer has not begun
	b.mu.Lock()
	b.stopped = true
	over := b.end != nil
	b.changedLocked()
	b.mu.Unlock()
	if over {
		<-b.done
		return
	}
	select {
	case <-b.done:
	default:
		if err := http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)); errors.Is(err, http.ErrNotSupported) {
			return // the reads fail when the server closes the body
		}
		<-b.done
	}
}
