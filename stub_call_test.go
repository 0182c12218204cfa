package edgews_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// callee is an object whose methods are functions.
type callee struct {
	st      *edgews.State
	methods map[string]func(context.Context, json.RawMessage) (any, error)
}

func (c *callee) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, err := c.methods["ServeHTTP"](r.Context(), nil); err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
	}
}

func (c *callee) Call(ctx context.Context, method string, req json.RawMessage) (any, error) {
	if fn := c.methods[method]; fn != nil {
		return fn(ctx, req)
	}
	return nil, fmt.Errorf("%w: %q", edgews.ErrUnknownMethod, method)
}

type methods = map[string]func(context.Context, json.RawMessage) (any, error)

// newCallees returns a namespace of callees, which methodsOf gives their methods.
func newCallees(t testing.TB, opts *edgews.NamespaceOptions, methodsOf func(*edgews.State) methods) *edgews.Namespace {
	if opts == nil {
		opts = new(edgews.NamespaceOptions)
	}
	if opts.Logger == nil {
		opts.Logger = quiet
	}
	n := edgews.NewNamespace("callees", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return &callee{st, methodsOf(st)}, nil
	}, opts)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		n.Shutdown(ctx)
	})
	return n
}

// point is passed through calls.
type point struct{ X, Y int }

func TestCall(t *testing.T) {
	boom, typed := errors.New("boom"), &edgews.ProtocolError{Section: "7"}
	shared := []int{1, 2, 3}
	n := newCallees(t, nil, func(*edgews.State) methods {
		return methods{
			"echo":    func(_ context.Context, req json.RawMessage) (any, error) { return req, nil },
			"nothing": func(context.Context, json.RawMessage) (any, error) { return nil, nil },
			"shared":  func(context.Context, json.RawMessage) (any, error) { return shared, nil },
			"fail":    func(context.Context, json.RawMessage) (any, error) { return 1, boom },
			"typed":   func(context.Context, json.RawMessage) (any, error) { return nil, fmt.Errorf("wrapped: %w", typed) },
			"panic":   func(context.Context, json.RawMessage) (any, error) { panic(boom) },
			"channel": func(context.Context, json.RawMessage) (any, error) { return make(chan int), nil },
			"invalid": func(context.Context, json.RawMessage) (any, error) { return json.RawMessage("{"), nil },
		}
	})
	a := n.Get(n.IDFromName("a"))
	ctx := t.Context()

	p, err := edgews.Call[point, *point](ctx, a, "echo", point{1, 2})
	require.NoError(t, err)
	assert.Equal(t, &point{1, 2}, p)
	nothing, err := edgews.Call[*point, *point](ctx, a, "echo", nil)
	assert.NoError(t, err)
	assert.Nil(t, nothing)
	_, err = edgews.Call[any, struct{}](ctx, a, "nothing", nil)
	assert.NoError(t, err)
	got, err := edgews.Call[any, []int](ctx, a, "shared", nil)
	require.NoError(t, err)
	got[0] = 9
	assert.Equal(t, []int{1, 2, 3}, shared, "the answer is a copy")

	_, err = edgews.Call[any, any](ctx, a, "fail", nil)
	assert.True(t, err == boom, "the error value itself")
	_, err = edgews.Call[any, any](ctx, a, "typed", nil)
	found, ok := errors.AsType[*edgews.ProtocolError](err)
	assert.True(t, ok && found == typed)
	_, err = edgews.Call[any, any](ctx, a, "panic", nil)
	assert.ErrorIs(t, err, boom, "a panic with an error")
	assert.ErrorContains(t, err, "edgews: Call(panic) of object "+a.ID().String()+` in namespace "callees" panicked: boom`)
	for _, method := range []string{"channel", "invalid"} {
		_, err = edgews.Call[any, any](ctx, a, method, nil)
		assert.ErrorContains(t, err, fmt.Sprintf("edgews: call of %q: answer cannot be encoded: ", method))
	}
	_, err = edgews.Call[any, any](ctx, a, "none", nil)
	assert.ErrorIs(t, err, edgews.ErrUnknownMethod)
	answer, err := edgews.Call[any, int](ctx, a, "shared", nil)
	assert.ErrorContains(t, err, `edgews: call of "shared": answer does not fit: json: cannot unmarshal array`)
	assert.Zero(t, answer)
	_, err = edgews.Call[any, any](ctx, a, "echo", make(chan int))
	assert.EqualError(t, err, `edgews: call of "echo": request cannot be encoded: json: unsupported type: chan int`)
	_, err = edgews.Call[any, any](ctx, n.Get(edgews.ID{}), "echo", nil)
	assert.ErrorIs(t, err, edgews.ErrInvalidID)

	plain := newRooms(t, nil, nil)
	id := plain.NewUniqueID()
	_, err = edgews.Call[any, any](ctx, plain.Get(id), "echo", nil)
	assert.ErrorIs(t, err, edgews.ErrUnknownMethod)
	assert.EqualError(t, err, `edgews: object has no such method: call of "echo": *edgews_test.room, of rooms `+id.String()+`, has no method Call and is no CallHandler`)
}

func TestStubDo(t *testing.T) {
	boom := errors.New("boom")
	n := newCallees(t, nil, func(*edgews.State) methods { return nil })
	a := n.Get(n.IDFromName("a"))
	var first edgews.Object
	require.NoError(t, a.Do(t.Context(), func(ctx context.Context, o edgews.Object) error {
		first = o
		assert.ErrorIs(t, a.Do(ctx, func(context.Context, edgews.Object) error { return nil }), edgews.ErrReentrant)
		return nil
	}))
	assert.True(t, boom == a.Do(t.Context(), func(_ context.Context, o edgews.Object) error {
		assert.True(t, first == o, "the same value")
		return boom
	}))
	require.NoError(t, n.Hibernate(t.Context(), a.ID()))
	assert.ErrorContains(t, a.Do(t.Context(), func(_ context.Context, o edgews.Object) error {
		assert.False(t, first == o, "constructed again")
		panic("oh")
	}), "edgews: Do of object "+a.ID().String()+` in namespace "callees" panicked: oh`)
	assert.EqualError(t, a.Do(t.Context(), nil), "edgews: Stub.Do without a function: fn is nil")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, a.Do(ctx, func(context.Context, edgews.Object) error { panic("not called") }), context.Canceled)
	require.NoError(t, n.Shutdown(t.Context()))
	assert.ErrorIs(t, a.Do(t.Context(), func(context.Context, edgews.Object) error { panic("not called") }), edgews.ErrShutdown)
}

// Each call is one request in the bill, whatever becomes of it, unless it does not reach the object.
func TestCallsAreBilled(t *testing.T) {
	meter := edgews.NewMeter(nil)
	opts := &edgews.NamespaceOptions{Options: edgews.Options{Meter: meter}, MaxWaiting: 1, Tenant: func(edgews.ID) string { return "acme" }}
	var n *edgews.Namespace
	n = newCallees(t, opts, func(st *edgews.State) methods {
		return methods{
			"ok":    func(context.Context, json.RawMessage) (any, error) { return nil, nil },
			"fail":  func(context.Context, json.RawMessage) (any, error) { return nil, edgews.ErrOverloaded },
			"panic": func(context.Context, json.RawMessage) (any, error) { panic(1) },
			"next": func(ctx context.Context, _ json.RawMessage) (any, error) {
				return edgews.Call[any, any](ctx, n.Get(n.IDFromName("b")), "ok", nil)
			},
			"self": func(ctx context.Context, _ json.RawMessage) (any, error) {
				return edgews.Call[any, any](ctx, n.Get(st.ID()), "ok", nil)
			},
		}
	})
	for i, c := range []struct {
		method string
		billed int64
	}{{"ok", 1}, {"fail", 1}, {"panic", 1}, {"none", 1}, {"next", 2}, {"self", 1}} {
		before := meter.Tenant("acme").Usage()
		edgews.Call[any, any](t.Context(), n.Get(n.IDFromName("a")), c.method, nil)
		assert.Equal(t, c.billed, meter.Tenant("acme").Usage().Sub(before).HTTPRequests, "%d: %s", i, c.method)
	}
	before := meter.Usage()
	require.NoError(t, n.Get(n.IDFromName("a")).Do(t.Context(), func(context.Context, edgews.Object) error { return nil }))
	edgews.Call[any, any](t.Context(), n.Get(edgews.ID{}), "ok", nil)
	edgews.Call[any, any](t.Context(), n.Get(n.IDFromName("a")), "ok", make(chan int))
	assert.EqualValues(t, 1, meter.Usage().Sub(before).HTTPRequests)

	used := meter.Usage().HTTPRequests
	meter.SetQuota(edgews.Plan{Name: "tiny", Requests: edgews.Rate{Included: used + 1}})
	_, err := edgews.Call[any, any](t.Context(), n.Get(n.IDFromName("a")), "ok", nil)
	assert.NoError(t, err)
	_, err = edgews.Call[any, any](t.Context(), n.Get(n.IDFromName("a")), "ok", nil)
	assert.ErrorIs(t, err, edgews.ErrQuota)
	assert.ErrorIs(t, n.Get(n.IDFromName("a")).Do(t.Context(), func(context.Context, edgews.Object) error { return nil }), edgews.ErrQuota)
	assert.Equal(t, used+1, meter.Usage().HTTPRequests)
}

// When the context of a call ends, the call does, and what it has called is told.
func TestCallIsCancelled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		told := make(chan error, 2)
		n := newCallees(t, nil, func(*edgews.State) methods {
			return methods{
				"polite": func(ctx context.Context, _ json.RawMessage) (any, error) {
					<-ctx.Done()
					told <- context.Cause(ctx)
					return nil, ctx.Err()
				},
				"stubborn": func(ctx context.Context, _ json.RawMessage) (any, error) {
					time.Sleep(time.Minute)
					told <- context.Cause(ctx)
					return 1, nil
				},
			}
		})
		a, why := n.Get(n.IDFromName("a")), errors.New("why")
		for _, method := range []string{"polite", "stubborn"} {
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, why)
			defer cancel()
			start := time.Now()
			_, err := edgews.Call[any, any](ctx, a, method, nil)
			assert.ErrorIs(t, err, context.DeadlineExceeded, method)
			assert.Equal(t, time.Second, time.Since(start), method)

			waiting, stop := context.WithTimeout(t.Context(), time.Second)
			defer stop()
			if method == "stubborn" { // and the object is busy until then
				_, err = edgews.Call[any, any](waiting, a, "polite", nil)
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, 2*time.Second, time.Since(start))
			}
			assert.Equal(t, why, <-told)
		}
		assert.Empty(t, told, "what was not begun never is")
	})
}

// A call wakes an object, finds it in line with its other events, and is refused when too many wait.
func TestCallOfABusyObject(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		n := newCallees(t, &edgews.NamespaceOptions{MaxWaiting: 1}, func(st *edgews.State) methods {
			made := time.Now()
			return methods{
				"made": func(context.Context, json.RawMessage) (any, error) { return made, nil },
				"wait": func(context.Context, json.RawMessage) (any, error) { <-release; return nil, nil },
			}
		})
		a := n.Get(n.IDFromName("a"))
		made, err := edgews.Call[any, time.Time](t.Context(), a, "made", nil)
		require.NoError(t, err)
		time.Sleep(time.Hour) // it hibernates
		again, err := edgews.Call[any, time.Time](t.Context(), a, "made", nil)
		require.NoError(t, err)
		assert.Equal(t, time.Hour, again.Sub(made))

		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				_, err := edgews.Call[any, any](t.Context(), a, "wait", nil)
				assert.NoError(t, err)
			})
			synctest.Wait()
		}
		_, err = edgews.Call[any, any](t.Context(), a, "wait", nil)
		assert.ErrorIs(t, err, edgews.ErrOverloaded)
		close(release)
		all.Wait()
		require.NoError(t, n.Shutdown(t.Context()))
		_, err = edgews.Call[any, any](t.Context(), a, "made", nil)
		assert.ErrorIs(t, err, edgews.ErrShutdown)
	})
}

// ring has objects that call the next one of a path, in one of several ways. limit is their event timeout.
func ring(t *testing.T, log *slog.Logger, limit time.Duration) (n *edgews.Namespace, call func(ctx context.Context, how string, path []string) error) {
	ways := map[string]func(ctx context.Context, to *edgews.Stub, path []string) error{
		"Call": func(ctx context.Context, to *edgews.Stub, path []string) error {
			_, err := edgews.Call[[]string, any](ctx, to, "go", path)
			return err
		},
		"Do": func(ctx context.Context, to *edgews.Stub, path []string) error {
			return to.Do(ctx, func(ctx context.Context, o edgews.Object) error {
				data, _ := json.Marshal(path)
				_, err := o.(*callee).methods["go"](ctx, data)
				return err
			})
		},
		"State.Do": func(ctx context.Context, to *edgews.Stub, path []string) error {
			var st *edgews.State
			if err := to.Do(ctx, func(_ context.Context, o edgews.Object) error { st = o.(*callee).st; return nil }); err != nil {
				return err
			}
			return st.Do(ctx, func() error { return nil })
		},
		"ServeHTTP": func(ctx context.Context, to *edgews.Stub, path []string) error {
			w := httptest.NewRecorder()
			to.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil).WithContext(context.WithValue(ctx, clientKey{}, path)))
			if w.Code == http.StatusLoopDetected {
				return edgews.ErrReentrant
			}
			if w.Code != http.StatusOK {
				return errors.New(w.Body.String())
			}
			return nil
		},
	}
	n = newCallees(t, &edgews.NamespaceOptions{Options: edgews.Options{Logger: log}}, func(st *edgews.State) methods {
		assert.NoError(t, st.SetEventTimeout(limit))
		step := func(ctx context.Context, path []string) (any, error) {
			if len(path) < 2 {
				return nil, nil
			}
			return nil, ways[path[0]](ctx, n.Get(n.IDFromName(path[1])), append([]string{path[0]}, path[2:]...))
		}
		return methods{
			"go": func(ctx context.Context, req json.RawMessage) (any, error) {
				var path []string
				if err := json.Unmarshal(req, &path); err != nil {
					return nil, err
				}
				return step(ctx, path)
			},
			"ServeHTTP": func(ctx context.Context, _ json.RawMessage) (any, error) {
				return step(ctx, ctx.Value(clientKey{}).([]string))
			},
		}
	})
	return n, func(ctx context.Context, how string, path []string) error {
		return ways[how](ctx, n.Get(n.IDFromName(path[0])), append([]string{how}, path[1:]...))
	}
}

// A circle of calls ends at once, and the error prints it.
func TestCallCycles(t *testing.T) {
	for i, how := range []string{"Call", "Do", "ServeHTTP", "Call", "Do", "ServeHTTP"} {
		limit := time.Duration(i/3) * time.Minute
		for _, path := range []string{"aa", "aba", "abca", "abcb", "abcdefgha", "abcc"} {
			t.Run(fmt.Sprint(how, path, limit), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					log := new(logs)
					_, call := ring(t, log.options().Logger, limit)
					names := strings.Split(path, "")
					err := call(t.Context(), how, names)
					text := fmt.Sprint(err, strings.ReplaceAll(log.String(), `\"`, `"`))
					if how != "ServeHTTP" {
						assert.ErrorIs(t, err, edgews.ErrReentrant)
					}
					handler := map[string]string{"Call": "Call(go)", "Do": "Do", "ServeHTTP": "ServeHTTP"}[how]
					var cycle []string
					for _, name := range names[slices.Index(names, names[len(names)-1]):] {
						cycle = append(cycle, fmt.Sprintf("callees %q %s", name, handler))
					}
					assert.Contains(t, text, "an event of an object cannot wait for another event of the same object: "+strings.Join(cycle, " → "))
				})
			})
		}
		bubble(t, func(t *testing.T) {
			_, call := ring(t, nil, limit)
			assert.NoError(t, call(t.Context(), how, strings.Split("abcdefgh", "")))
		})
	}
}

// Two events that call each other's object at the same time wait for each other: one of the calls fails, the other one succeeds.
func TestCallsAcross(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n *edgews.Namespace
		n = newCallees(t, nil, func(*edgews.State) methods {
			return methods{
				"across": func(ctx context.Context, req json.RawMessage) (any, error) {
					time.Sleep(time.Second)
					return edgews.Call[any, any](ctx, n.Get(n.IDFromName(strings.Trim(string(req), `"`))), "end", nil)
				},
				"end": func(context.Context, json.RawMessage) (any, error) { return nil, nil },
			}
		})
		start := time.Now()
		var failed atomic.Int32
		var all sync.WaitGroup
		for _, pair := range []string{"ab", "bc", "cd", "da"} {
			all.Go(func() {
				_, err := edgews.Call[string, any](t.Context(), n.Get(n.IDFromName(pair[:1])), "across", pair[1:])
				if err == nil {
					return
				}
				failed.Add(1)
				assert.ErrorIs(t, err, edgews.ErrReentrant)
				assert.Equal(t, 5, strings.Count(err.Error(), "callees "), err)
				assert.Equal(t, 4, strings.Count(err.Error(), "Call(across) →"), err)
				assert.True(t, strings.HasSuffix(err.Error(), " Call(end)"), err)
			})
		}
		all.Wait()
		assert.EqualValues(t, 1, failed.Load())
		assert.Equal(t, time.Second, time.Since(start))
	})
}

// Hibernate waits too, so it may close a circle; and an event that is over, or a call that has been given up, is in none.
func TestWaitsThatEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n *edgews.Namespace
		stub := func(name string) *edgews.Stub { return n.Get(n.IDFromName(name)) }
		n = newCallees(t, nil, func(*edgews.State) methods {
			return methods{
				"hibernate": func(ctx context.Context, _ json.RawMessage) (any, error) {
					return nil, n.Hibernate(ctx, n.IDFromName("a"))
				},
				"call b": func(ctx context.Context, _ json.RawMessage) (any, error) {
					go edgews.Call[any, any](ctx, stub("a"), "end", nil) // it fails, and nothing waits for it
					return edgews.Call[any, any](ctx, stub("b"), "hibernate", nil)
				},
				"impatient": func(ctx context.Context, _ json.RawMessage) (any, error) {
					short, cancel := context.WithTimeout(ctx, time.Second)
					defer cancel()
					_, err := edgews.Call[any, any](short, stub("b"), "sleep", nil)
					assert.ErrorIs(t, err, context.DeadlineExceeded)
					time.Sleep(time.Minute)
					return nil, nil
				},
				"sleep": func(ctx context.Context, _ json.RawMessage) (any, error) {
					time.Sleep(10 * time.Second) // the caller does not wait any more
					return edgews.Call[any, any](context.WithoutCancel(t.Context()), stub("a"), "end", nil)
				},
				"leave behind": func(ctx context.Context, _ json.RawMessage) (any, error) {
					go func() {
						time.Sleep(time.Second)
						_, err := edgews.Call[any, any](ctx, stub("a"), "end", nil)
						assert.NoError(t, err, "the event of a is over")
					}()
					return nil, nil
				},
				"end": func(context.Context, json.RawMessage) (any, error) { return nil, nil },
			}
		})
		_, err := edgews.Call[any, any](t.Context(), stub("a"), "call b", nil)
		assert.ErrorIs(t, err, edgews.ErrReentrant)
		assert.ErrorContains(t, err, `callees "a" Call(call b) → callees "b" Call(hibernate) → callees "a" Hibernate`)
		_, err = edgews.Call[any, any](t.Context(), stub("a"), "impatient", nil)
		assert.NoError(t, err)
		synctest.Wait()
		_, err = edgews.Call[any, any](t.Context(), stub("a"), "leave behind", nil)
		assert.NoError(t, err)
		time.Sleep(time.Minute)
	})
}

// callNode is what an object of a random graph does when it is called: it calls others, one after the other or at the same time.
type callNode struct {
	calls    []int
	together bool
	delay    time.Duration
}

// hasCycle reports whether a graph leads from a node, or from one on the way, back to a node on the way.
func hasCycle(graph []callNode, from int, way []int) bool {
	if slices.Contains(way, from) {
		return true
	}
	way = append(slices.Clone(way), from)
	return slices.ContainsFunc(graph[from].calls, func(to int) bool { return hasCycle(graph, to, way) })
}

// In random graphs of objects that call each other no call waits for ever; a call that leads to a circle reports it, and one that does
// not succeeds when it is alone.
func TestCallsInRandomGraphs(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 14))
		size := 2 + rng.IntN(6)
		acyclic := seed%4 == 0
		graph := make([]callNode, size)
		for i := range graph {
			graph[i].together, graph[i].delay = rng.IntN(2) == 0, time.Duration(rng.IntN(3))*time.Millisecond
			for range rng.IntN(3) {
				to := rng.IntN(size)
				if acyclic && to <= i {
					continue
				}
				graph[i].calls = append(graph[i].calls, to)
			}
		}
		bubble(t, func(t *testing.T) { callsInGraph(t, graph, acyclic, seed) })
	}
}

func callsInGraph(t *testing.T, graph []callNode, acyclic bool, seed uint64) {
	meter := edgews.NewMeter(nil)
	var begun atomic.Int64
	var n *edgews.Namespace
	stub := func(i int) *edgews.Stub { return n.Get(n.IDFromName(fmt.Sprint(i))) }
	n = newCallees(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: meter}, MaxWaiting: -1}, func(*edgews.State) methods {
		return methods{"visit": func(ctx context.Context, req json.RawMessage) (any, error) {
			begun.Add(1)
			var node int
			if err := json.Unmarshal(req, &node); err != nil {
				return nil, err
			}
			time.Sleep(graph[node].delay)
			var failures []error
			if !graph[node].together {
				for _, to := range graph[node].calls {
					_, err := edgews.Call[int, any](ctx, stub(to), "visit", to)
					failures = append(failures, err)
				}
				return nil, errors.Join(failures...)
			}
			results := make(chan error, len(graph[node].calls))
			for _, to := range graph[node].calls {
				go func() {
					_, err := edgews.Call[int, any](ctx, stub(to), "visit", to)
					results <- err
				}()
			}
			for range graph[node].calls {
				failures = append(failures, <-results)
			}
			return nil, errors.Join(failures...)
		}}
	})
	visit := func(node int) error {
		_, err := edgews.Call[int, any](t.Context(), stub(node), "visit", node)
		return err
	}
	for node := range graph { // alone
		if err := visit(node); hasCycle(graph, node, nil) {
			assert.ErrorIs(t, err, edgews.ErrReentrant, "seed %d, from %d: %+v", seed, node, graph)
		} else {
			assert.NoError(t, err, "seed %d, from %d: %+v", seed, node, graph)
		}
	}
	var all sync.WaitGroup
	for node := range graph {
		for range 3 {
			all.Go(func() {
				err := visit(node)
				if acyclic {
					assert.NoError(t, err, "seed %d, from %d: %+v", seed, node, graph)
				} else if err != nil {
					assert.ErrorIs(t, err, edgews.ErrReentrant)
				}
			})
		}
	}
	all.Wait() // a bubble without this would end in a deadlock
	assert.Equal(t, begun.Load(), meter.Usage().HTTPRequests, "one request for each call that has begun")
}

func BenchmarkCall(b *testing.B) {
	ok := func(_ context.Context, req json.RawMessage) (any, error) { return req, nil }
	n := newCallees(b, nil, func(*edgews.State) methods { return methods{"ok": ok} })
	to := n.Get(n.IDFromName("b"))
	b.Run("from a handler", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := edgews.Call[point, point](b.Context(), to, "ok", point{1, 2}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("from an object", func(b *testing.B) {
		b.ReportAllocs()
		err := n.Get(n.IDFromName("a")).Do(b.Context(), func(ctx context.Context, _ edgews.Object) error {
			for b.Loop() {
				if _, err := edgews.Call[point, point](ctx, to, "ok", point{1, 2}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	})
	b.Run("Do", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := to.Do(b.Context(), func(context.Context, edgews.Object) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// wanderer is an object whose events call other objects at random in every way that waits, also from Suspend.
type wanderer struct {
	st     *edgews.State
	wander func(ctx context.Context, depth int) error
}

func (w *wanderer) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	_ = w.wander(r.Context(), 3)
	if s, err := edgews.Upgrade(rw, r, nil); err == nil {
		_ = w.st.AcceptWebSocket(s)
	}
	_ = w.wander(r.Context(), 3) // Connect has returned by now
}

func (w *wanderer) Call(ctx context.Context, _ string, req json.RawMessage) (any, error) {
	var depth int
	if err := json.Unmarshal(req, &depth); err != nil {
		return nil, err
	}
	return nil, w.wander(ctx, depth)
}

func (w *wanderer) Suspend(ctx context.Context, _ edgews.SuspendReason) error {
	return w.wander(ctx, 3)
}

// Objects that call, connect to and hibernate each other, and call from Suspend, never wait for ever, and Shutdown finishes.
func TestWaitsOfAllKinds(t *testing.T) {
	for seed := range uint64(40) {
		bubble(t, func(t *testing.T) {
			var mu sync.Mutex
			random := rand.New(rand.NewPCG(seed, 0))
			pick := func(n int) int {
				mu.Lock()
				defer mu.Unlock()
				return random.IntN(n)
			}
			var n *edgews.Namespace
			var wander func(ctx context.Context, depth int) error
			wander = func(ctx context.Context, depth int) error {
				if depth > 4 {
					return nil
				}
				time.Sleep(time.Duration(pick(3)) * time.Millisecond)
				id := n.IDFromName(string(rune('a' + pick(4))))
				switch pick(5) {
				case 0:
					_, err := edgews.Call[int, any](ctx, n.Get(id), "wander", depth+1)
					return err
				case 1:
					return n.Get(id).Do(ctx, func(ctx context.Context, _ edgews.Object) error { return wander(ctx, depth+1) })
				case 2:
					s, _, err := n.Get(id).Connect(ctx, nil)
					if err != nil {
						return err
					}
					return errors.Join(s.Accept(), s.Close(1000, ""))
				case 3:
					return n.Hibernate(ctx, id)
				default:
					var both sync.WaitGroup
					for range 2 {
						both.Go(func() { _ = wander(ctx, depth+1) })
					}
					both.Wait()
					return nil
				}
			}
			n = edgews.NewNamespace("wanderers", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
				return &wanderer{st, wander}, nil
			}, &edgews.NamespaceOptions{Options: edgews.Options{Logger: quiet}, HibernateAfter: 5 * time.Millisecond})
			begin := time.Now()
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for range 5 {
						_ = wander(t.Context(), 0)
					}
				})
			}
			all.Wait()
			assert.Less(t, time.Since(begin), 10*time.Second, "seed %d", seed)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			assert.NoError(t, n.Shutdown(ctx), "seed %d", seed)
		})
	}
}
