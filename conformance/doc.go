// Package conformance compares edgews with traces recorded from the real Cloudflare runtime, runs the cases of the Autobahn test
// suite, and tests against other implementations (Node's ws, Python's websockets, Chromium) and
// behind proxies (nginx, HAProxy). It has only tests.
package conformance
