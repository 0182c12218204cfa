using Workerd = import "/workerd/workerd.capnp";

# Only the socket that is given an address is used; the other one takes a free port.
const config :Workerd.Config = (
  services = [(name = "main", worker = .worker)],
  sockets = [
    (name = "http", address = "127.0.0.1:0", http = (), service = "main"),
    (name = "broadcast", address = "127.0.0.1:0", http = (), service = (name = "main", entrypoint = "lobby")),
  ],
);

const worker :Workerd.Worker = (
  modules = [(name = "worker", esModule = embed "worker.js")],
  compatibilityDate = "2026-01-01",
  bindings = [(name = "rooms", durableObjectNamespace = "Room")],
  durableObjectNamespaces = [(className = "Room", uniqueKey = "bench")],
  durableObjectStorage = (inMemory = void),
);
