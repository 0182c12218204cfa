package conformance_test

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/edgews/edgews"
)

// undefined is how null and undefined appear in transcripts.
const undefined = rawText("nothing")

// rawText is printed without quotes.
type rawText string

// stateCalls are calls that many scenarios make.
var stateCalls = map[string]func(*scriptedObject) any{
	"ctx.getWebSockets() in a fresh object": func(p *scriptedObject) any { return len(p.st.WebSockets()) },
	"acceptWebSocket(b)":                    func(p *scriptedObject) any { return p.accept(p.b()) },
	"acceptWebSocket(b) again":              func(p *scriptedObject) any { return p.accept(p.b()) },
	`acceptWebSocket(b, ["x"])`:             func(p *scriptedObject) any { return p.accept(p.b(), "x") },
	`acceptWebSocket(b,["t"])`:              func(p *scriptedObject) any { return p.accept(p.b(), "t") },
	`acceptWebSocket(b,["ok"])`:             func(p *scriptedObject) any { return p.accept(p.b(), "ok") },
	"acceptWebSocket(a)":                    func(p *scriptedObject) any { return p.accept(p.a()) },
	"acceptWebSocket with an 11-tag list":   func(p *scriptedObject) any { return p.accept(p.b(), numbers(11)...) },
	"getWebSockets().length":                func(p *scriptedObject) any { return len(p.st.WebSockets()) },
	"getWebSockets()[0] === b":              func(p *scriptedObject) any { return p.st.WebSockets()[0] == p.b() },
	"getTags(b)":                            func(p *scriptedObject) any { return p.tagsOf(p.b()) },
	"deserializeAttachment()":               (*scriptedObject).attached,
	"in webSocketClose: deserialize":        (*scriptedObject).attached,
}

// objectScripts are the scripts of the scenarios of group d without clients.
var objectScripts = map[string]objectScript{
	"d-accept-basic":              {omit: []string{"new Response with a"}}, // every scenario with a client does that
	"d-accept-inproc-peer":        {eventsRecorded: true},
	"d-accept-inproc-peer@manual": {eventsRecorded: true},
	"d-inproc-close-both":         closeBoth(),
	"d-inproc-close-both@manual":  closeBoth(),
	"d-tags-count":                tagCounts(),
	"d-tags-length":               tagLengths(),
	"d-gettags-errors":            tagErrors(),
	"d-gettags-after-close":       tagsThroughLife(),
	"d-getwebsockets-order":       orders(),
	"d-attachment-after-close":    {tags: []string{}},
	"d-close-validation":          {tags: []string{}},
	"d-listeners":                 listenersNeverFire(),
	"d-auto-api":                  autoResponses(),
	"d-auto-limits":               autoLimits(),
	"d-accept-limit":              acceptLimit(),
}

func closeBoth() objectScript {
	return objectScript{eventsRecorded: true, tags: []string{}, do: map[string]func(*scriptedObject) any{
		`ws.close(4002,"reply") in webSocketClose`: func(p *scriptedObject) any { return noError(p.b().Close(4002, "reply")) },
	}}
}

func listenersNeverFire() objectScript {
	return objectScript{tags: []string{}, start: func(p *scriptedObject) {
		fired := func(what string) { p.rec.add("object", "a listener got %s", what) }
		p.b().OnMessage(func(edgews.MessageEvent) { fired("a message") })
		p.b().OnClose(func(edgews.CloseEvent) { fired("the close event") })
		p.b().OnError(func(edgews.ErrorEvent) { fired("an error") })
	}}
}

// numbers returns "0" to "n-1".
func numbers(n int) []string {
	tags := make([]string, n)
	for i := range tags {
		tags[i] = strconv.Itoa(i)
	}
	return tags
}

func tagCounts() objectScript {
	do := map[string]func(*scriptedObject) any{
		"  getTags": func(p *scriptedObject) any { return p.tagsOf(p.last) },
	}
	counted := false
	for _, n := range []int{0, 1, 9, 10, 11, 100} {
		do[fmt.Sprintf("acceptWebSocket with %d tags", n)] = func(p *scriptedObject) any {
			counted = true
			return p.acceptAnother(numbers(n)...)
		}
	}
	list := func(what string, tags ...string) {
		do["acceptWebSocket("+what+")"] = func(p *scriptedObject) any {
			counted = false
			return p.acceptAnother(tags...)
		}
	}
	list(`["a","a","a","a","a","a","a","a","a","a","a"]`, strings.Split(strings.Repeat("a", 11), "")...)
	list(`["0","1","2","3","4","5","6","7","8","9","0"]`, append(numbers(10), "0")...)
	list(`["0","0","1","2","3","4","5","6","7","8","9"]`, append([]string{"0"}, numbers(10)...)...)
	do["  tags"] = func(p *scriptedObject) any {
		tags, _ := p.st.Tags(p.last)
		if counted {
			return len(tags)
		}
		return tags
	}
	return objectScript{do: do}
}

func tagLengths() objectScript {
	do := map[string]func(*scriptedObject) any{
		`getWebSockets("").length`:      func(p *scriptedObject) any { return len(p.st.WebSockets("")) },
		`getWebSockets("a"*257).length`: func(p *scriptedObject) any { return len(p.st.WebSockets(strings.Repeat("a", 257))) },
	}
	for what, tag := range map[string]string{
		"256 x a": strings.Repeat("a", 256), "257 x a": strings.Repeat("a", 257), "empty": "",
		"128 x é (256 bytes)": strings.Repeat("é", 128), "129 x é (258 bytes)": strings.Repeat("é", 129),
	} {
		do["tag "+what] = func(p *scriptedObject) any { return p.acceptAnother(tag) }
	}
	return objectScript{do: do}
}

func tagErrors() objectScript {
	return objectScript{
		omit: []string{"getTags()", "getTags({})"},
		do: map[string]func(*scriptedObject) any{
			"getTags on an unaccepted end": func(p *scriptedObject) any { return p.tagsOf(p.b()) },
			"getTags on an accepted end":   func(p *scriptedObject) any { return p.tagsOf(p.b()) },
			"getTags on the peer of a hibernatable end": func(p *scriptedObject) any {
				peer, s := edgews.NewPair()
				_ = p.st.AcceptWebSocket(s)
				return p.tagsOf(peer)
			},
		},
	}
}

func tagsThroughLife() objectScript {
	tags := func(p *scriptedObject) any { return p.tagsOf(p.b()) }
	count := func(p *scriptedObject) any { return len(p.st.WebSockets()) }
	return objectScript{tags: []string{"x", "y"}, do: map[string]func(*scriptedObject) any{
		"after b.close(): getTags(b)":                       tags,
		"after b.close(): getWebSockets().length":           count,
		"in webSocketClose: getTags(b)":                     tags,
		`in webSocketClose: getWebSockets("x").length`:      func(p *scriptedObject) any { return len(p.st.WebSockets("x")) },
		"after the close handshake: getTags(b)":             tags,
		"after the close handshake: getWebSockets().length": count,
	}}
}

func orders() objectScript {
	do := make(map[string]func(*scriptedObject) any)
	for what, tags := range map[string][]string{
		"": nil, `"x"`: {"x"}, `"y"`: {"y"}, `"X"`: {"X"}, `"none"`: {"none"}, `""`: {""},
	} {
		do["getWebSockets("+what+")"] = func(p *scriptedObject) any {
			var names []string
			for _, s := range p.st.WebSockets(tags...) {
				names = append(names, p.nameOf(s))
			}
			return names
		}
	}
	return objectScript{
		do:   do,
		omit: []string{"getWebSockets(undefined)", "getWebSockets(null)", "getWebSockets(5)", "result is an Array, fresh each time"},
		start: func(p *scriptedObject) {
			for i, tags := range [][]string{{"x"}, {"y"}, {"x", "y"}, nil, {"x", "y"}} {
				_ = p.acceptAnother(tags...)
				p.names[p.last] = fmt.Sprintf("s%d", i+1)
			}
		},
	}
}

func autoResponses() objectScript {
	set := func(request, response string) func(*scriptedObject) any {
		return func(p *scriptedObject) any {
			return noError(p.st.SetAutoResponse(edgews.AutoResponse{Request: request, Response: response}))
		}
	}
	none := func(p *scriptedObject) any { return noError(p.st.SetAutoResponse()) }
	get := func(p *scriptedObject) any {
		if pair, ok := firstAuto(p.st).(edgews.AutoResponse); ok {
			return []string{"WebSocketRequestResponsePair", pair.Request, pair.Response}
		}
		return undefined
	}
	return objectScript{
		do: map[string]func(*scriptedObject) any{
			"get before any set":       get,
			"unset before any set":     none,
			"set(ping,pong)":           set("ping", "pong"),
			"get":                      get,
			"get after set(undefined)": get,
			"set(undefined)":           none,
			"get is a fresh object": func(p *scriptedObject) any {
				p.st.AutoResponses()[0].Request = "changed"
				return p.st.AutoResponses()[0].Request == "changed"
			},
			"set(a,b) replaces": func(p *scriptedObject) any {
				set("a", "b")(p)
				return firstAuto(p.st)
			},
			"timestamp before any auto response": func(p *scriptedObject) any {
				_ = p.acceptAnother()
				return orNothing(timestamp(p.st, p.last))
			},
			"timestamp of a plain end": func(p *scriptedObject) any { return orNothing(timestamp(p.st, p.a())) },
		},
		omit: []string{
			"set(null)", "get after set(null)", "set({request,response})", `set("x")`, "new WebSocketRequestResponsePair()",
			`new WebSocketRequestResponsePair("a")`, "new WebSocketRequestResponsePair(5, null)",
			"WebSocketRequestResponsePair() without new", "pair.request is read-only", "timestamp()",
		},
	}
}

func orNothing(v any) any {
	if v == nil {
		return undefined
	}
	return v
}

func autoLimits() objectScript {
	do := map[string]func(*scriptedObject) any{
		"get after the failures": func(p *scriptedObject) any {
			pair := p.st.AutoResponses()[0]
			return []int{len(pair.Request), len(pair.Response)}
		},
	}
	set := func(what, request, response string) {
		do["set "+what] = func(p *scriptedObject) any {
			return noError(p.st.SetAutoResponse(edgews.AutoResponse{Request: request, Response: response}))
		}
	}
	set("2048/1", strings.Repeat("a", 2048), "b")
	set("2049/1", strings.Repeat("a", 2049), "b")
	set("1/2048", "a", strings.Repeat("b", 2048))
	set("1/2049", "a", strings.Repeat("b", 2049))
	set("1024 x é (2048 bytes)", strings.Repeat("é", 1024), "b")
	set("1025 x é (2050 bytes)", strings.Repeat("é", 1025), "b")
	set("empty/empty", "", "")
	set("both too long", strings.Repeat("a", 3000), strings.Repeat("b", 3000))
	return objectScript{do: do}
}

func acceptLimit() objectScript {
	var err error
	return objectScript{do: map[string]func(*scriptedObject) any{
		"accepted before the error": func(p *scriptedObject) any {
			n := 0
			for err = nil; err == nil; n++ {
				_, s := edgews.NewPair()
				err = p.st.AcceptWebSocket(s)
			}
			return n - 1
		},
		"error":                  func(*scriptedObject) any { return err },
		"getWebSockets().length": func(p *scriptedObject) any { return len(p.st.WebSockets()) },
	}}
}
