package conformance_test

import (
	"bytes"
	"compress/flate"
	"time"

	"github.com/edgews/edgews"
)

// serverQuirks is what scenarios of group b need beyond their traces.
var serverQuirks = map[string]serverQuirk{
	"b-hs-early-frames":       {early: []string{"early 1", "early 2"}},
	"b-byte-by-byte":          {slow: "slow"},
	"b-deflate-bomb":          {payload: bomb},
	"b-size-fragmented-33mib": {raw: fragments},

	// Our queue is bounded unless an option says otherwise (deviation 10); how much of it the kernel takes at once varies.
	"b-client-rst-while-server-sends-much": {deaf: true, options: unbounded, hears: 4},
	"b-size-server-33mib":                  {options: unbounded},

	// A half-open socket whose peer has ended its side is cut after CloseTimeout, if the program does not say Close by then.
	"b-client-close-halfopen-never": {options: shortCloseTimeout},
	"b-client-close-1000@manual":    {options: shortCloseTimeout},
	"b-client-close-empty@manual":   {options: shortCloseTimeout},

	// In Workers the Response's Sec-WebSocket-Extensions header says what to agree to; in Go the options do.
	"b-ext-worker-header-cmwb-10": {options: func(o *edgews.UpgradeOptions) { o.Compression.PeerWindowBits = 10 }},
	"b-ext-worker-header-garbage": {options: func(o *edgews.UpgradeOptions) { o.Compression.Disable = true }},
}

// shortCloseTimeout is longer than the replay takes to get there, and shorter than it waits for the end.
func shortCloseTimeout(o *edgews.UpgradeOptions) { o.CloseTimeout = 300 * time.Millisecond }

func unbounded(o *edgews.UpgradeOptions) { o.SendBuffer = 64 << 20 }

// bomb inflates to 33 MiB.
func bomb() []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	w.Write(make([]byte, 33<<20))
	w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))
}

// fragments are 33 of 1 MiB each.
func fragments() []byte {
	var b []byte
	for i := range 33 {
		op := "continuation"
		if i == 0 {
			op = "binary"
		}
		b = append(b, (&entry{Opcode: op, Fin: i == 32, Masked: true, Length: 1 << 20}).encode()...)
	}
	return b
}
