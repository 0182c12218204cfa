package conformance_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing/synctest"
	"unicode/utf16"

	"github.com/edgews/edgews"
)

// pairScripts are the scripts of scenarios of group a.
var pairScripts = map[string]pairScript{
	"a-buffered-1000-until-peer-accept":   bufferedThousand(),
	"a-listener-added-late":               {listenAfter: map[string]int{"b": 1}},
	"a-listener-added-after-microtask":    {listenAfter: map[string]int{"b": 0}},
	"a-close-validation-order":            {unrecorded: map[string]bool{"a": true, "b": true}},
	"a-delivery-after-response":           {unrecorded: map[string]bool{"a": true}},
	"a-delivery-after-response-waituntil": {unrecorded: map[string]bool{"a": true}},
	"a-close-reason-length":               closeReasons(),
	"a-reentrant-send":                    pingPong(),
	"a-handler-throws-close":              panics("b/close/1", errors.New("close boom")),
	"a-handler-throws-close@manual":       panics("b/close/1", errors.New("close boom")),
	"a-handler-throws-error": {inListeners: map[string]func(*actor){
		"b/message/1": throw(errors.New("message boom")),
		"b/error/1":   throw(errors.New("error boom")),
	}},
	"a-handler-throws-nonerror":                 panics("b/message/1", "just a string"),
	"a-two-handlers-throw":                      twoPanics(),
	"a-after-error":                             panics("b/message/1", errors.New("boom")),
	"a-after-error@manual":                      panics("b/message/1", errors.New("boom")),
	"a-listener-remove-during-dispatch":         removeLater(),
	"a-listener-remove-earlier-during-dispatch": removeEarlier(),
}

func throw(v any) func(*actor) { return func(*actor) { panic(v) } }

func panics(at string, v any) pairScript {
	return pairScript{inListeners: map[string]func(*actor){at: throw(v)}}
}

// twoPanics adds a second listener, which also runs and also panics.
func twoPanics() pairScript {
	script := panics("b/message/1", errors.New("first"))
	script.start = func(p *pairPlayer) {
		p.actors["b"].s.OnMessage(func(edgews.MessageEvent) { panic(errors.New("second")) })
	}
	return script
}

func bufferedThousand() pairScript {
	var got []string
	return pairScript{
		unrecorded: map[string]bool{"b": true},
		start: func(p *pairPlayer) {
			got = nil
			p.actors["b"].s.OnMessage(func(e edgews.MessageEvent) { got = append(got, e.Text()) })
		},
		notes: map[string]func(*pairPlayer){
			`a sent 1000 messages "0".."999"`: func(p *pairPlayer) {
				for i := range 1000 {
					p.actors["a"].s.Send(strconv.Itoa(i))
				}
			},
		},
		values: map[string]func(*pairPlayer) any{
			"received count": func(*pairPlayer) any { return len(got) },
			"in order": func(*pairPlayer) any {
				for i, text := range got {
					if text != strconv.Itoa(i) {
						return false
					}
				}
				return true
			},
		},
	}
}

// pingPong answers n with n+1 on both sides, up to 1000.
func pingPong() pairScript {
	rounds := 0
	answer := func(e edgews.MessageEvent) {
		if n, _ := strconv.Atoi(e.Text()); n < 1000 {
			rounds = n + 1
			e.Target.Send(strconv.Itoa(n + 1))
		}
	}
	return pairScript{
		unrecorded: map[string]bool{"a": true, "b": true},
		start: func(p *pairPlayer) {
			p.actors["a"].s.OnMessage(answer)
			p.actors["b"].s.OnMessage(answer)
		},
		values: map[string]func(*pairPlayer) any{"rounds": func(*pairPlayer) any { return rounds }},
	}
}

// noting is a listener that writes its name and the message as a note.
func noting(p *pairPlayer, name string) func(edgews.MessageEvent) {
	return func(e edgews.MessageEvent) {
		p.rec.turn.Lock()
		defer p.rec.turn.Unlock()
		p.rec.add("notes", "%s", fmt.Sprint(name, " ", e.Text()))
	}
}

// noNotes is for scenarios in which listeners wrote all notes.
var noNotes = map[string]func(*pairPlayer){}

// removeLater: at the second message l1 removes l2, which comes after it, and itself.
func removeLater() pairScript {
	return pairScript{notes: noNotes, unrecorded: map[string]bool{"b": true}, start: func(p *pairPlayer) {
		b, l1 := p.actors["b"].s, noting(p, "l1")
		var remove1, remove2 func()
		remove1 = b.OnMessage(func(e edgews.MessageEvent) {
			l1(e)
			if e.Text() == "2" {
				remove1()
				remove2()
			}
		})
		remove2 = b.OnMessage(noting(p, "l2"))
	}}
}

// removeEarlier: at every message l2 removes l1, which came before it, and adds it again.
func removeEarlier() pairScript {
	return pairScript{notes: noNotes, unrecorded: map[string]bool{"b": true}, start: func(p *pairPlayer) {
		b, l1, l2 := p.actors["b"].s, noting(p, "l1"), noting(p, "l2")
		remove1 := b.OnMessage(l1)
		b.OnMessage(func(e edgews.MessageEvent) {
			l2(e)
			remove1()
			remove1 = b.OnMessage(l1)
		})
	}}
}

// closeReasons closes a pair with each of these reasons and describes the peer's close event. JavaScript counts in UTF-16, and the
// traces have the first three units.
func closeReasons() pairScript {
	reasons := map[string]string{
		`close(1000, 123 x "a")`:                      strings.Repeat("a", 123),
		`close(1000, 124 x "a")`:                      strings.Repeat("a", 124),
		`close(1000, 41 x "€" (123 bytes))`:           strings.Repeat("€", 41),
		`close(1000, 42 x "€" (126 bytes))`:           strings.Repeat("€", 42),
		`close(1000, 61 x "é" + "a" (123 bytes))`:     strings.Repeat("é", 61) + "a",
		`close(1000, 62 x "é" (124 bytes))`:           strings.Repeat("é", 62),
		`close(1000, 30 x emoji + "abc" (123 bytes))`: strings.Repeat("😀", 30) + "abc",
		`close(1000, 31 x emoji (124 bytes))`:         strings.Repeat("😀", 31),
		`close(1000, 1000 x "a")`:                     strings.Repeat("a", 1000),
	}
	var saw any
	return pairScript{
		omit: "lone surrogates",
		do: func(what string) error {
			saw = nil
			a, b := edgews.NewPair()
			b.OnClose(func(e edgews.CloseEvent) {
				units := utf16.Encode([]rune(e.Reason))
				saw = []any{int(e.Code), len(units), utf16Head(units), e.WasClean}
			})
			a.Accept()
			b.Accept()
			err := a.Close(1000, reasons[what])
			synctest.Wait()
			return err
		},
		values: map[string]func(*pairPlayer) any{"peer saw": func(*pairPlayer) any { return saw }},
	}
}

// utf16Head returns the first three units. Half a character is printed as in the traces.
func utf16Head(units []uint16) string {
	head := string(utf16.Decode(units[:3]))
	if before, half := strings.CutSuffix(head, "\ufffd"); half {
		return before + fmt.Sprintf(`\u{%x}`, units[2])
	}
	return head
}
