// Package inspect shows what the sockets and objects of a running process do: as a page for people, and as calls over a WebSocket for programs,
// such as the command "edgews inspect".
//
//	inspector := inspect.New(nil)
//	rooms := edgews.NewNamespace("rooms", newRoom, &edgews.NamespaceOptions{Options: edgews.Options{Observer: inspector}})
//	inspector.AddNamespaces(rooms)
//	http.Handle("/debug/edgews/", inspector.Handler())
//
// Sockets that no object has are shown if they have the Observer too, in UpgradeOptions, DialOptions or HubOptions. So are upgrades that Upgrade
// refuses in an object: the Observer of the namespace is told only of those that the namespace refuses.
//
// In a cluster each node has an inspector of its own: it shows the objects that live on this node, with their sockets, wherever their clients are connected,
// and the cluster as this node sees it, if a namespace's Cluster is an edgews.ClusterInformer. What lives on other nodes is shown by theirs.
//
// # Who may look
//
// Without Options.Authorize only the machine itself may, with all its users: the peer's address and the request's Host must be loopback, and a
// request that carries a field of a proxy, such as Forwarded, X-Forwarded-For, X-Real-IP or Via, is refused. A proxy on this machine that adds no
// such field, such as one that forwards TCP, cannot be told from a local browser: behind one, set Authorize. Pages of other origins never reach
// the calls: the WebSocket admits its own host alone, or programs that are no browsers, which send no Origin. An Authorize that asks for no
// password or cookie, but for an address, must check Host as well, because the page of another site may have a name that resolves to this machine.
//
// What is shown may be secret: stored values, which Options.Redact can mask, names, addresses, paths without their queries, and the texts of
// errors. Nothing can be changed without Options.AllowActions.
//
// # What it costs
//
// An observed message costs some additions and no allocation; an open socket and an object in memory cost a record of a few hundred bytes, see
// Memory. While no page is open nothing else is computed, except for one point of history for each second in which something has happened. While
// one is open, sockets and objects are sampled when the page asks, at most every second and at most for a two-hundredth of the time, or every 20
// seconds; while nothing happens, every minute. BenchmarkOpenPage measures it.
package inspect
