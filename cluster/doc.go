// Package cluster runs objects of edgews on several machines: it says which machines there are and which of them owns which objects, changes
// that without an object ever being written by two owners, and carries what clients and objects send between the machines.
//
// [Join] makes a process a member of a cluster, and a [Cluster] is what namespaces need: edgews.NamespaceOptions.Cluster. Each object has one
// home, the member that runs it. A client's connection stays at the member that has accepted it, its edge. When an object gets another
// home, its edges announce its sockets there, with tags, attachments and auto-responses, and send again what has not been handled.
//
// A [Node] is one process. It joins the members of a cluster through an [Engine], which stores what all members share: a record of each
// member, a record of the owner of each [Shard], and the storage of the objects. The objects of a cluster are divided into a fixed number
// of shards; [ShardOf] says into which. A node that owns a shard runs its objects.
//
// Four things keep an object from running twice. Each stops what the one before lets through:
//
//  1. Placement: a rendezvous hash over the live members says which of them should own a shard. Members may disagree for a while.
//  2. Ownership: the record of a shard's owner is changed only by compare-and-swap. Each change gives it a larger epoch. Requests go to
//     the owner that the record names, not to the one that the hash says.
//  3. Self-fencing: a member renews its record at the engine every quarter of its TTL. It stops when TTL has passed since it sent the
//     last renewal that the engine has acknowledged. The others remove it later than that: [DeadAfter] TTL since they saw its last
//     renewal, and only if the engine has seen none since.
//  4. The fence of the storage: an object's storage is opened with the epoch of its shard, and refuses owners with an older one, see
//     edgews.Store. Safety depends on this one alone: the others would suffice if no process were ever suspended between a check and a
//     commit.
//
// Nothing here reads the wall clock. Times are measured with the monotonic clock of each process, and no member tells another one a time.
// The rates of two members' clocks may differ by up to 11 %.
//
// On Linux and most other systems the monotonic clock does not count the time for which a whole machine is suspended. A node on such a
// machine may believe for up to TTL after it has been resumed that it still owns its shards. The fence of the storage refuses what it
// commits meanwhile.
//
// The modules cluster/nats and cluster/postgres have engines. The subpackage memory has one for tests, which injects faults; enginetest checks
// engines.
package cluster
