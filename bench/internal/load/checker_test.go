package load

import (
	"bytes"
	"testing"
)

// answer returns the echo of a server for b: the same messages, unmasked.
func answer(b *Batch) []byte {
	var out []byte
	for _, p := range b.want {
		f := Batch{}
		f.frame(binary2, p, 0, false)
		head := headerSize(f.send)
		f.send[1] &^= maskBit
		out = append(append(out, f.send[:head]...), p...)
	}
	return out
}

func TestCheckerAcceptsAnswersInParts(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 1000, 70_000} {
		b := &Echo(false, size, 3).Batches[1]
		wire := answer(b)
		for _, cut := range []int{1, 2, 3, 7, 1000, len(wire)} {
			var c checker
			got := 0
			for p := wire; len(p) > 0; {
				n := min(cut, len(p))
				done, err := c.feed(b, p[:n], nil)
				if err != nil {
					t.Fatalf("%d bytes in parts of %d: %v", size, cut, err)
				}
				got += done
				p = p[n:]
			}
			if got != 3 {
				t.Errorf("%d bytes in parts of %d: %d messages, not 3", size, cut, got)
			}
		}
	}
}

func TestCheckerAcceptsPings(t *testing.T) {
	b := &Echo(false, 100, 1).Batches[0]
	for _, said := range []string{"", "are you there?"} {
		ping := append([]byte{finBit | ping, byte(len(said))}, said...)
		wire := append(append(bytes.Clone(ping), answer(b)...), ping...)
		for _, cut := range []int{1, 5, len(wire)} {
			var c checker
			got, pings := 0, 0
			for p := wire; len(p) > 0; {
				n := min(cut, len(p))
				done, err := c.feed(b, p[:n], nil)
				if err != nil {
					t.Fatal(err)
				}
				if c.pinged {
					pings++
					c.pinged = false
					if string(c.ping) != said {
						t.Errorf("ping says %q", c.ping)
					}
				}
				got += done
				p = p[n:]
			}
			if want := min(2, 1+len(wire)/cut/2); got != 1 || pings != want {
				t.Errorf("in parts of %d: %d messages, %d pings", cut, got, pings)
			}
		}
	}
}

func TestCheckerFindsErrors(t *testing.T) {
	b := &Echo(false, 100, 2).Batches[0]
	good := answer(b)
	for name, wire := range map[string][]byte{
		"another byte":  append(append(bytes.Clone(good[:50]), good[50]^1), good[51:]...),
		"one too many":  append(bytes.Clone(good), good[:102]...),
		"masked":        b.send,
		"cut short":     append([]byte{finBit | binary2, 99}, good[2:101]...),
		"another batch": answer(&Echo(false, 100, 2).Batches[1]),
	} {
		var c checker
		if _, err := c.feed(b, wire, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestCheckerRaw(t *testing.T) {
	b := &Echo(true, 32, 4).Batches[0]
	c := checker{raw: true}
	if n, err := c.feed(b, b.send[:50], nil); n != 1 || err != nil {
		t.Errorf("after 50 bytes: %d messages, %v", n, err)
	}
	if n, err := c.feed(b, b.send[50:], nil); n != 3 || err != nil {
		t.Errorf("after all bytes: %d more messages, %v", n, err)
	}
	if _, err := c.feed(b, []byte{1}, nil); err == nil {
		t.Error("no error for a byte too many")
	}
}

func TestDeflatedScriptInflates(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		s, err := Deflated(takeover, 12)
		if err != nil {
			t.Fatal(err)
		}
		var f inflater
		var history []byte
		sent := 0
		for i, b := range append(s.Batches, s.Batches...) {
			head := headerSize(b.send) + 4
			packed := bytes.Clone(b.send[head:])
			for i := range packed {
				packed[i] ^= b.send[head-4+i%4]
			}
			sent += len(packed)
			got, err := f.inflate(packed, recent(history))
			if err != nil || !bytes.Equal(got, b.want[0]) {
				t.Fatalf("message %d: %d bytes, %v", i, len(got), err)
			}
			if takeover {
				history = remember(history, got)
			}
		}
		t.Logf("takeover %v: %d bytes for 1024", takeover, sent/2/len(s.Batches))
	}
}
