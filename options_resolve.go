package edgews

import (
	"reflect"
	"sync/atomic"
)

// resolve returns o with every default filled in and without Meter. The result is shared and must not be changed. Sockets
// with equal options share one copy; a server's sockets usually have the same options, apart from the meter.
func (o Options) resolve() *Options {
	o.Meter = nil
	key, ok := o.key()
	if !ok {
		return o.withDefaults()
	}
	for i := range recentlyResolved {
		if r := recentlyResolved[i].Load(); r != nil && r.key == key {
			return r.options
		}
	}
	r := &resolvedOptions{key, o.withDefaults()}
	recentlyResolved[nextResolved.Add(1)%uint32(len(recentlyResolved))].Store(r)
	return r.options
}

// recentlyResolved has the options that were resolved last. The oldest entry is replaced.
var (
	recentlyResolved [8]atomic.Pointer[resolvedOptions]
	nextResolved     atomic.Uint32
)

type resolvedOptions struct {
	key     optionsKey
	options *Options
}

// optionsKey is equal for equal options.
type optionsKey struct {
	options     Options // without Compression and Meter
	compression compressionKey
}

// compressionKey is a Compression without Choose.
type compressionKey struct {
	disable, noTakeover, noPeerTakeover bool
	threshold, level, bits, peerBits    int
}

// key returns the key of o. ok is false if Compression.Choose is set, because functions cannot be compared, or if the Observer cannot be.
func (o Options) key() (key optionsKey, ok bool) {
	var c Compression
	if o.Compression != nil {
		c = *o.Compression
	}
	o.Compression = nil
	ok = c.Choose == nil && (o.Observer == nil || reflect.ValueOf(o.Observer).Comparable())
	if !ok {
		return optionsKey{}, false
	}
	return optionsKey{o, compressionKey{
		c.Disable, c.NoContextTakeover, c.PeerNoContextTakeover, c.Threshold, c.Level, c.WindowBits, c.PeerWindowBits,
	}}, true
}
