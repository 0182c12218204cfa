package conformance_test

import (
	"bytes"
	"compress/flate"
	"time"

	"github.com/edgews/edgews"
)

// serverQuirks has the quirks of scenarios of group b.
var serverQuirks = map[string]serverQuirk{
	"b-hs-early-frames":       {early: []string{"early 1", "early 2"}},
	"b-byte-by-byte":          {slow: "slow"},
	"b-deflate-bomb":          {payload: bomb},
	"b-size-fragmented-33mib": {raw: fragments},

	"b-client-rst-then-server-sends": {awaitedLines: 2, lost: true},
	"b-async-handler-interleave":     {goesOnAfter: map[int]int{20: 5, 60: 6}},

	// The send queue is bounded by an option (deviation 10), and the number of bytes that the kernel accepts at once varies.
	"b-client-rst-while-server-sends-much": {doesNotRead: true, options: unbounded, awaitedLines: 4, lost: true},
	"b-size-server-33mib":                  {options: unbounded},

	// The connection of a half-open socket whose peer has sent a FIN is cut after CloseTimeout, unless the program closes it before.
	"b-client-close-halfopen-never": {options: shortCloseTimeout},
	"b-client-close-1000@manual":    {options: shortCloseTimeout},
	"b-client-close-empty@manual":   {options: shortCloseTimeout},

	// In Workers the Sec-WebSocket-Extensions header of the Response selects the parameters, in Go the options do.
	"b-ext-worker-header-cmwb-10": {options: func(o *edgews.UpgradeOptions) { o.Compression.PeerWindowBits = 10 }},
	"b-ext-worker-header-garbage": {options: func(o *edgews.UpgradeOptions) { o.Compression.Disable = true }},
}

// shortCloseTimeout sets a time-out that is longer than the replay up to the Close, and shorter than its wait for the end.
func shortCloseTimeout(o *edgews.UpgradeOptions) { o.CloseTimeout = time.Second }

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
