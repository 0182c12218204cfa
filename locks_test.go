package edgews_test

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLockNames checks what the names of functions say about mutexes, in the root package and in internal/:
//
//   - A function whose name ends in Locked, or in AndUnlock, is called only while a lock is held, on every path to the call. A
//     function whose name begins with new or init may call it on what it makes, which no other goroutine knows yet.
//   - A function whose name ends in Locked returns with the lock held. It does not release it meanwhile either, unless its
//     comment says "released meanwhile".
//   - A function whose name ends in AndUnlock returns with the lock released, on every path. Its caller has not deferred an
//     Unlock.
//   - A function that returns with a lock held, which it has locked, has a name that ends in AndLock, or that begins with lock.
//   - No other function releases a lock that it has not locked.
//
// The test follows the statements of each function; it does not know which mutex a function needs, only whether one is held.
func TestLockNames(t *testing.T) {
	internal, err := filepath.Glob("internal/*")
	require.NoError(t, err)
	found := make(map[string][]string) // the violations of each function
	more, err := filepath.Glob("cluster/internal/*")
	require.NoError(t, err)
	for _, dir := range slices.Concat([]string{".", "cluster"}, internal, more) {
		for _, f := range sources(t, dir) {
			for _, v := range lockViolations(f) {
				fn := v.function
				if dir != "." {
					fn = filepath.ToSlash(dir) + ": " + fn
				}
				found[fn] = append(found[fn], v.what)
			}
		}
	}
	for _, fn := range slices.Sorted(maps.Keys(found)) {
		t.Errorf("%s: %s", fn, strings.Join(found[fn], "; "))
	}
}

func TestLockNamesAreChecked(t *testing.T) {
	const sound = `
		func (s *S) a() { s.mu.Lock(); defer s.mu.Unlock(); s.xLocked() }
		func (s *S) b() { s.mu.Lock(); s.xLocked(); s.mu.Unlock() }
		func (s *S) c() error {
			s.mu.Lock()
			if s.done { s.mu.Unlock(); return nil }
			for range 3 { if s.n > 0 { break }; s.xLocked() }
			switch { case s.n == 1: s.xLocked(); case s.n == 2: s.mu.Unlock(); return nil }
			s.xLocked()
			s.yAndUnlock()
			return nil
		}
		func (s *S) d() { if s.mu.TryLock() { s.xLocked(); s.mu.Unlock() } }
		func (s *S) d2() { if s.n > 0 || !s.mu.TryLock() { return }; s.xLocked(); s.mu.Unlock() }
		func (s *S) d3() { switch { case s.n > 0: case s.mu.TryLock(): s.xLocked(); s.mu.Unlock() } }
		func (s *S) e() { s.mu.Lock(); defer s.mu.Unlock(); func() { s.xLocked() }() }
		func (s *S) xLocked() { s.other.mu.Lock(); s.other.n++; s.other.mu.Unlock(); if s.n > 0 { s.zLocked() } }
		// zLocked waits. s.mu must be held; it is released meanwhile.
		func (s *S) zLocked() { s.mu.Unlock(); <-s.c; s.mu.Lock() }
		func (s *S) yAndUnlock() { if s.n > 0 { s.mu.Unlock(); return }; s.wAndUnlock() }
		func (s *S) wAndUnlock() { defer s.mu.Unlock(); s.xLocked() }
		func newS() *S { s := new(S); s.xLocked(); return s }
		func (s *S) waitAndLock() { <-s.c; s.mu.Lock() }
		func (s *S) f() { s.waitAndLock(); defer s.mu.Unlock(); s.xLocked() }
		func (s *S) g() { s.waitAndLock(); defer s.wAndUnlock(); s.xLocked() }
		func (s *S) h1() error { if err := s.sem.lock(); err != nil { return err }; defer s.sem.unlock(); s.xLocked(); return nil }
		func (s *S) h2() error { x, err := s.waitAndLock(); if err != nil { return err }; s.xLocked(); s.mu.Unlock(); return nil }
		func (s *S) lockWrites(ctx C) error { select { case s.sem <- 1: s.xLocked(); return nil; case <-ctx.Done(): return ctx.Err() } }
		func (s *S) unlockWrites() { <-s.sem }
		func (s *S) i() error { if err := s.lockWrites(c); err != nil { return err }; defer s.unlockWrites(); s.xLocked(); return nil }
		func (s *S) jLocked() { s.writeLock <- 1; go s.yAndUnlock() }
		func (s *S) k(ctx C) error {
			select {
			case s.writeLock <- 1:
			default:
				if err := s.waitForWriteLock(ctx); err != nil { return err }
			}
			s.xLocked()
			s.unlockWrites()
			return nil
		}
		func (s *S) h() { s.mu.Lock(); defer s.mu.Unlock(); s.sem.unlock(); s.xLocked() }`
	assert.Empty(t, lockViolations(parseLocks(t, sound)))

	cases := []struct{ name, source, want string }{
		{"no lock", `func (s *S) f() { s.xLocked() }`, "S.f: calls xLocked without a lock"},
		{"after the unlock", `func (s *S) f() { s.mu.Lock(); s.mu.Unlock(); s.xLocked() }`, "S.f: calls xLocked without a lock"},
		{"before the lock", `func f(s *S) { s.xLocked(); s.mu.Lock(); s.mu.Unlock() }`, "f: calls xLocked without a lock"},
		{"a branch unlocks", `func f(s *S) { s.mu.Lock(); if s.n > 0 { s.mu.Unlock() }; s.xLocked() }`, "f: calls xLocked without a lock"},
		{"a loop unlocks", `func f(s *S) { s.mu.Lock(); for s.n > 0 { s.mu.Unlock(); break }; s.xLocked() }`, "f: calls xLocked without a lock"},
		{"TryLock failed", `func f(s *S) { if !s.mu.TryLock() { s.xLocked(); return }; s.mu.Unlock() }`, "f: calls xLocked without a lock"},
		{"a goroutine that releases", `func (s *S) f() { go s.xAndUnlock() }`, "S.f: calls xAndUnlock without a lock"},
		{"a goroutine", `func (s *S) fLocked() { go func() { s.xLocked() }() }`, "S.fLocked: calls xLocked without a lock"},
		{"a go statement", `func (s *S) fLocked() { go s.xLocked() }`, "S.fLocked: calls xLocked without a lock"},
		{"AndUnlock without a lock", `func (s *S) f() { s.xAndUnlock() }`, "S.f: calls xAndUnlock without a lock"},
		{"AndUnlock twice", `func (s *S) f() { s.mu.Lock(); s.xAndUnlock(); s.xAndUnlock() }`, "S.f: calls xAndUnlock without a lock"},
		{"Locked releases", `func (s *S) fLocked() { s.n++; s.mu.Unlock() }`, "S.fLocked: releases the lock"},
		{"Locked releases on a path", `func (s *S) fLocked() { if s.n > 0 { s.mu.Unlock(); return }; s.n++ }`, "S.fLocked: releases the lock"},
		{"Locked calls AndUnlock", `func (s *S) fLocked() { s.xAndUnlock() }`, "S.fLocked: releases the lock"},
		{"Locked defers Unlock", `func (s *S) fLocked() { defer s.mu.Unlock() }`, "S.fLocked: releases the lock"},
		{"Locked releases meanwhile", `func (s *S) fLocked() { s.mu.Unlock(); <-s.c; s.mu.Lock() }`, "S.fLocked: releases the lock meanwhile, and its comment does not say so"},
		{"AndUnlock keeps the lock", `func (s *S) fAndUnlock() { s.n++ }`, "S.fAndUnlock: returns with the lock held"},
		{"AndUnlock keeps it on a path", `func (s *S) fAndUnlock() { if s.n > 0 { return }; s.mu.Unlock() }`, "S.fAndUnlock: returns with the lock held"},
		{"deferred Unlock", `func (s *S) f() { s.mu.Lock(); defer s.mu.Unlock(); s.xAndUnlock() }`, "S.f: calls xAndUnlock and has deferred an Unlock"},
		{"AndLock missing", `func (s *S) f() { <-s.c; s.mu.Lock() }`, "S.f: returns with a lock held: AndLock is missing in its name"},
		{"an unlock that does not", `func (s *S) unlockWrites() { s.n++ }`, "S.unlockWrites: returns with the lock held"},
		{"AndUnlock missing", `func (s *S) f() { s.n++; s.mu.Unlock() }`, "S.f: releases a lock that it has not locked: AndUnlock is missing in its name"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, v := range lockViolations(parseLocks(t, c.source)) {
				got = append(got, v.function+": "+v.what)
			}
			assert.Equal(t, []string{c.want}, got)
		})
	}
}

func parseLocks(t *testing.T, source string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "planted.go", "package planted\n"+source, parser.ParseComments)
	require.NoError(t, err)
	return f
}

// lockViolation is what a function does against the rules.
type lockViolation struct{ function, what string }

// lockViolations returns the violations in a file, each once.
func lockViolations(f *ast.File) []lockViolation {
	found := make(map[lockViolation]bool)
	for _, decl := range f.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Body != nil {
			checkLocks(fn, found)
		}
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b lockViolation) int {
		return cmp.Or(cmp.Compare(a.function, b.function), cmp.Compare(a.what, b.what))
	})
}

const releasesLock = "releases the lock"

// entryLock stands for the lock that the caller of a function holds.
const entryLock = "the caller's"

// Names that say what a call does: Lock, TryLock, lock, lockWrites and waitAndLock lock; Unlock, unlock and unlockWrites release.
// A channel is a lock if its name says so: a send locks it, a receive releases it.
var (
	lockNames   = regexp.MustCompile(`^(lock([A-Z]\w*)?|\w*Lock)$`)
	unlockNames = regexp.MustCompile(`^(R?Unlock|unlock([A-Z]\w*)?)$`)
	lockChans   = regexp.MustCompile(`(^|\.)(\w*Lock|\w*[sS]em)$`)
)

// newNames are the names of functions that make what they work on.
var newNames = regexp.MustCompile(`^(new|New|init)`)

// locksHeld is what is known at a point of a function. A nil map: the point is not reached.
type locksHeld map[string]bool

// both returns what is held on either of two paths. A lock that has another name on each, as one path tried to lock it first, is
// still one.
func (a locksHeld) both(b locksHeld) locksHeld {
	switch {
	case a == nil:
		return maps.Clone(b)
	case b == nil:
		return maps.Clone(a)
	}
	c := maps.Clone(a)
	maps.DeleteFunc(c, func(l string, _ bool) bool { return !b[l] })
	if len(c) == 0 && len(b) > 0 {
		return maps.Clone(a)
	}
	return c
}

// lockWalk follows the statements of a function.
type lockWalk struct {
	name      string
	isLocked  bool // its name ends in Locked
	isUnlock  bool // its name ends in AndUnlock
	isLock    bool // its name ends in AndLock
	isNew     bool // it makes what it works on
	isLiteral bool // it is a literal in the function of that name
	meanwhile bool // its comment says that the lock is released meanwhile
	found     map[lockViolation]bool

	held      locksHeld
	released  bool            // the caller's lock has been released, perhaps only meanwhile
	uncertain map[string]bool // locks by calls that may have failed
	deferred  map[string]bool // locks whose Unlock is deferred
	breaks    []*breakTarget
}

// breakTarget is a statement that break ends.
type breakTarget struct {
	label string
	held  locksHeld // on the paths that break
}

func checkLocks(fn *ast.FuncDecl, found map[lockViolation]bool) {
	name := fn.Name.Name
	w := &lockWalk{
		name: qualified(fn), found: found, held: locksHeld{}, deferred: map[string]bool{}, uncertain: map[string]bool{},
		isLocked: strings.HasSuffix(name, "Locked"), isUnlock: strings.HasSuffix(name, "AndUnlock") || unlockNames.MatchString(name),
		isLock: lockNames.MatchString(name), isNew: newNames.MatchString(name),
	}
	w.meanwhile = strings.Contains(strings.Join(strings.Fields(fn.Doc.Text()), " "), "released meanwhile")
	if w.isLocked || w.isUnlock {
		w.held[entryLock] = true
	}
	w.body(fn.Body)
	if w.isLocked && w.released && !w.meanwhile && !found[lockViolation{w.name, releasesLock}] {
		w.report("releases the lock meanwhile, and its comment does not say so")
	}
}

// qualified returns the name of a function with that of its receiver's type.
func qualified(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return fn.Name.Name
	}
	typ := fn.Recv.List[0].Type
	for {
		switch t := typ.(type) {
		case *ast.StarExpr:
			typ = t.X
		case *ast.IndexExpr:
			typ = t.X
		case *ast.IndexListExpr:
			typ = t.X
		default:
			return fmt.Sprintf("%v.%s", typ, fn.Name.Name)
		}
	}
}

func (w *lockWalk) report(format string, args ...any) {
	w.found[lockViolation{w.name, fmt.Sprintf(format, args...)}] = true
}

func (w *lockWalk) body(b *ast.BlockStmt) {
	w.stmts(b.List)
	w.exit()
}

// exit checks what is held where the function returns.
func (w *lockWalk) exit() {
	if w.held == nil {
		return
	}
	held := w.held[entryLock] && !w.deferred[entryLock]
	switch {
	case w.isLocked && !held:
		w.report(releasesLock)
	case w.isUnlock && held:
		w.report("returns with the lock held")
	case !w.isLocked && !w.isUnlock && !w.isLock && !w.isLiteral && slices.ContainsFunc(w.ownLocks(), func(l string) bool { return !w.deferred[l] }):
		w.report("returns with a lock held: AndLock is missing in its name")
	}
	w.held = nil
}

// ownLocks returns what the function itself has locked.
func (w *lockWalk) ownLocks() []string {
	own := maps.Clone(w.held)
	delete(own, entryLock)
	return slices.Collect(maps.Keys(own))
}

func (w *lockWalk) stmts(list []ast.Stmt) {
	for _, s := range list {
		w.stmt(s, "")
	}
}

func (w *lockWalk) stmt(s ast.Stmt, label string) {
	switch s := s.(type) {
	case *ast.LabeledStmt:
		w.stmt(s.Stmt, s.Label.Name)
	case *ast.BlockStmt:
		w.stmts(s.List)
	case *ast.ReturnStmt:
		w.exprs(s)
		w.exit()
	case *ast.BranchStmt:
		w.branch(s)
	case *ast.SendStmt:
		w.exprs(s)
		if on := expr(s.Chan); w.held != nil && lockChans.MatchString(on) {
			w.lock(on, false)
		}
	case *ast.DeferStmt:
		w.deferCall(s.Call)
	case *ast.GoStmt:
		w.goCall(s.Call)
	case *ast.IfStmt:
		w.ifStmt(s)
	case *ast.ForStmt:
		w.simple(s.Init)
		w.loop(label, s.Cond != nil, func() {
			w.exprs(s.Cond)
			w.stmts(s.Body.List)
			w.simple(s.Post)
		})
	case *ast.RangeStmt:
		w.exprs(s.X)
		w.loop(label, true, func() { w.stmts(s.Body.List) })
	case *ast.SwitchStmt:
		w.simple(s.Init)
		w.exprs(s.Tag)
		w.clauses(label, s.Body, true)
	case *ast.TypeSwitchStmt:
		w.simple(s.Init)
		w.exprs(s.Assign)
		w.clauses(label, s.Body, true)
	case *ast.SelectStmt:
		w.clauses(label, s.Body, false)
	default:
		w.exprs(s)
	}
}

func (w *lockWalk) simple(s ast.Stmt) {
	if s != nil {
		w.stmt(s, "")
	}
}

func (w *lockWalk) branch(s *ast.BranchStmt) {
	if s.Tok == token.BREAK {
		for _, b := range slices.Backward(w.breaks) {
			if s.Label == nil || s.Label.Name == b.label {
				b.held = b.held.both(w.held)
				break
			}
		}
	}
	if s.Tok != token.FALLTHROUGH {
		w.held = nil
	}
}

func (w *lockWalk) ifStmt(s *ast.IfStmt) {
	w.simple(s.Init)
	before := maps.Clone(w.held)
	w.exprs(s.Cond)
	otherwise := maps.Clone(w.held)
	switch tries, negated := tryLock(s.Cond); {
	case negated: // if !mu.TryLock() { return }
		w.held = before
	case tries: // if mu.TryLock() { … }
		otherwise = before
	case isError(s.Cond): // if err := s.lock(ctx); err != nil { return err }
		maps.DeleteFunc(w.held, func(l string, _ bool) bool { return w.uncertain[l] })
	}
	w.stmts(s.Body.List)
	then := w.held
	w.held = otherwise
	w.simple(s.Else)
	w.held = then.both(w.held)
}

// loop follows a body twice: what it releases is released when it begins again. It may not run at all if ends.
func (w *lockWalk) loop(label string, ends bool, body func()) {
	b := w.breakable(label)
	for range 2 {
		before := maps.Clone(w.held)
		body()
		if w.held = before.both(w.held); w.held == nil {
			break
		}
	}
	if !ends {
		w.held = nil
	}
	w.endBreakable(b)
}

func (w *lockWalk) breakable(label string) *breakTarget {
	b := &breakTarget{label: label}
	w.breaks = append(w.breaks, b)
	return b
}

func (w *lockWalk) endBreakable(b *breakTarget) {
	w.breaks = w.breaks[:len(w.breaks)-1]
	w.held = w.held.both(b.held)
}

// clauses follows the cases of a switch or a select. In a switch without default none may run.
func (w *lockWalk) clauses(label string, body *ast.BlockStmt, isSwitch bool) {
	b := w.breakable(label)
	before := w.held
	var after locksHeld
	hasDefault := !isSwitch
	for _, clause := range body.List {
		w.held = maps.Clone(before)
		switch c := clause.(type) {
		case *ast.CaseClause:
			hasDefault = hasDefault || c.List == nil
			for _, e := range c.List {
				w.exprs(e)
			}
			w.stmts(c.Body)
		case *ast.CommClause:
			w.simple(c.Comm)
			w.stmts(c.Body)
		}
		after = after.both(w.held)
	}
	if w.held = after; !hasDefault {
		w.held = after.both(before)
	}
	w.endBreakable(b)
}

func (w *lockWalk) deferCall(call *ast.CallExpr) {
	if mutex, method := lockCall(call); unlockNames.MatchString(method) {
		w.deferred[w.heldAs(mutex)] = true
		return
	}
	if _, method := lockCall(call); strings.HasSuffix(method, "AndUnlock") && len(w.held) > 0 {
		maps.Copy(w.deferred, w.held)
		return
	}
	w.exprs(call)
}

// goCall follows what another goroutine runs, which holds nothing, unless it is handed a lock to be released.
func (w *lockWalk) goCall(call *ast.CallExpr) {
	if _, name := lockCall(call); strings.HasSuffix(name, "AndUnlock") {
		w.exprs(call)
		return
	}
	held := w.held
	if w.held != nil {
		w.held = locksHeld{}
	}
	w.exprs(call)
	w.held = held
}

// exprs follows the calls in a node in the order of their evaluation: arguments first.
func (w *lockWalk) exprs(n ast.Node) {
	if n == nil {
		return
	}
	var calls []*ast.CallExpr
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			w.literal(n)
			return false
		case *ast.UnaryExpr:
			if on := expr(n.X); n.Op == token.ARROW && lockChans.MatchString(on) {
				delete(w.held, w.heldAs(on))
			}
		case *ast.CallExpr:
			calls = append(calls, n)
		}
		return true
	})
	slices.SortStableFunc(calls, func(a, b *ast.CallExpr) int { return int(a.End() - b.End()) })
	for _, c := range calls {
		w.applyCall(c)
	}
}

// literal follows a function literal as if it ran where it stands.
func (w *lockWalk) literal(lit *ast.FuncLit) {
	if w.held == nil {
		return
	}
	inner := &lockWalk{
		name: w.name, isNew: w.isNew, isLiteral: true, found: w.found,
		held: maps.Clone(w.held), deferred: map[string]bool{}, uncertain: map[string]bool{},
	}
	inner.body(lit.Body)
}

func (w *lockWalk) applyCall(c *ast.CallExpr) {
	if w.held == nil {
		return
	}
	mutex, name := lockCall(c)
	switch {
	case lockNames.MatchString(name):
		w.lock(mutex, name != "Lock" && name != "RLock")
	case !strings.HasSuffix(name, "Unlock") && unlockNames.MatchString(name) && !w.held[mutex]: // of a channel
		w.releaseChan(mutex)
	case unlockNames.MatchString(name):
		w.release(mutex)
	case strings.HasSuffix(name, "Locked"), strings.HasSuffix(name, "AndUnlock"):
		w.needsLock(name)
	}
}

// lock notes that a mutex is held now, or may be if the call can fail.
func (w *lockWalk) lock(mutex string, uncertain bool) {
	if w.isLocked && !w.held[entryLock] { // again
		mutex = entryLock
	}
	w.held[mutex], w.uncertain[mutex] = true, uncertain
}

func (w *lockWalk) needsLock(callee string) {
	if len(w.held) == 0 && !w.isNew {
		w.report("calls %s without a lock", callee)
	}
	if !strings.HasSuffix(callee, "AndUnlock") {
		return
	}
	if len(w.deferred) > 0 {
		w.report("calls %s and has deferred an Unlock", callee)
	}
	if own := w.ownLocks(); len(own) > 0 {
		for _, l := range own {
			delete(w.held, l)
		}
		return
	}
	clear(w.held)
}

// heldAs returns the name under which a mutex is held: its own, or the caller's lock.
func (w *lockWalk) heldAs(mutex string) string {
	switch {
	case w.held[mutex]:
		return mutex
	case w.held[entryLock]:
		return entryLock
	case len(w.held) == 1: // under another name
		for only := range w.held {
			return only
		}
	}
	return ""
}

func (w *lockWalk) release(mutex string) {
	held := w.heldAs(mutex)
	switch {
	case held == "":
		w.report("releases a lock that it has not locked: AndUnlock is missing in its name")
	case held == entryLock:
		w.released = true
	}
	delete(w.held, held)
}

// releaseChan notes that a method of on, such as unlock, has released its channel. If the function has not locked it, it was its
// caller's, or another function has locked it.
func (w *lockWalk) releaseChan(on string) {
	for _, l := range w.ownLocks() {
		if strings.HasPrefix(l, on+".") {
			delete(w.held, l)
			return
		}
	}
	delete(w.held, entryLock)
}

// lockCall returns what a method is called on, and its name; or the name of a function.
func lockCall(c *ast.CallExpr) (on, name string) {
	switch f := ast.Unparen(c.Fun).(type) {
	case *ast.SelectorExpr:
		return expr(f.X), f.Sel.Name
	case *ast.Ident:
		return "", f.Name
	}
	return "", ""
}

// isError reports whether e is err != nil.
func isError(e ast.Expr) bool {
	b, ok := e.(*ast.BinaryExpr)
	return ok && b.Op == token.NEQ && expr(b.X) == "err" && expr(b.Y) == "nil"
}

// tryLock reports whether a condition tries to lock, and whether it is true if that fails.
func tryLock(cond ast.Expr) (tries, negated bool) {
	ast.Inspect(cond, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.UnaryExpr:
			inner, _ := tryLock(n.X)
			negated = negated || inner && n.Op == token.NOT
		case *ast.CallExpr:
			_, name := lockCall(n)
			tries = tries || strings.HasPrefix(name, "Try")
		}
		return true
	})
	return tries, negated
}

// expr writes an expression of names, such as s.mu.
func expr(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return expr(e.X) + "." + e.Sel.Name
	case *ast.StarExpr:
		return expr(e.X)
	case *ast.CallExpr:
		return expr(e.Fun) + "()"
	case *ast.IndexExpr:
		return expr(e.X) + "[]"
	}
	return fmt.Sprintf("%T", e)
}
