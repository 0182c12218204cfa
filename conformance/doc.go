// Package conformance holds edgews against others: traces recorded from the real Cloudflare runtime, the Autobahn case list, and
// live peers (Node's ws, Python's websockets, Chromium). It has tests only.
package conformance
