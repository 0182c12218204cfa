package edgews

import (
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"time"
)

// namespaceNames are the names of the namespaces that use a Store which the program has made. A Store whose type cannot be compared is not
// among them.
var namespaceNames struct {
	mu    sync.Mutex // no other mutex is locked under it
	names map[namespaceName]struct{}
}

type namespaceName struct {
	store Store
	name  string
}

// registerName reserves the name of n on its Store. It panics if another namespace has it.
func (n *Namespace) registerName() {
	if !reflect.ValueOf(n.opts.Store).Comparable() {
		return
	}
	namespaceNames.mu.Lock()
	defer namespaceNames.mu.Unlock()
	name := namespaceName{n.opts.Store, n.name}
	if _, taken := namespaceNames.names[name]; taken {
		panic(fmt.Sprintf("edgews: NewNamespace: there is a namespace %q on this Store already; use that one, or shut it down first", n.name))
	}
	if namespaceNames.names == nil {
		namespaceNames.names = make(map[namespaceName]struct{})
	}
	namespaceNames.names[name] = struct{}{}
	n.nameRegistered = true
}

// unregisterName lets another namespace use the name.
func (n *Namespace) unregisterName() {
	if !n.nameRegistered {
		return
	}
	namespaceNames.mu.Lock()
	defer namespaceNames.mu.Unlock()
	delete(namespaceNames.names, namespaceName{n.opts.Store, n.name})
}

// lookup returns the object with that ID, or nil if none is in memory.
func (n *Namespace) lookup(id ID) *object {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.objects[id]
}

// checkID returns ErrInvalidID for the zero ID and for an ID of another namespace.
func (n *Namespace) checkID(id ID) error {
	if n.lookup(id) != nil {
		return nil
	}
	return n.verifyID(id.bytes())
}

// objectFor returns the object with that ID. It makes one if none is in memory.
func (n *Namespace) objectFor(id ID) *object {
	if o := n.lookup(id); o != nil {
		return o
	}
	meter := n.meterFor(id) // calls the program's Tenant, so mu is not held
	n.mu.Lock()
	defer n.mu.Unlock()
	if o := n.objects[id]; o != nil {
		return o
	}
	o := &object{ns: n, id: id, stateSince: time.Now()}
	if meter != nil {
		o.counter = newUsageCounter(meter, o, nil)
	}
	n.objects[id] = o
	return o
}

// meterFor returns the meter that counts what an object uses, or nil.
func (n *Namespace) meterFor(id ID) *Meter {
	if n.opts.Meter == nil || n.opts.Tenant == nil {
		return n.opts.Meter
	}
	return n.opts.Meter.Tenant(n.opts.Tenant(id))
}

// allObjects returns the objects that are in memory now.
func (n *Namespace) allObjects() []*object {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]*object, 0, len(n.objects))
	for _, o := range n.objects {
		all = append(all, o)
	}
	return all
}

// logger returns where errors of objects are logged, also if the program has given no Logger.
func (n *Namespace) logger() *slog.Logger {
	return orDefaultLogger(n.opts.Logger)
}
