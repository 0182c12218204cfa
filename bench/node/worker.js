// An echo as Cloudflare's documentation shows it.
export default {
  async fetch(request) {
    const [client, server] = Object.values(new WebSocketPair());
    server.accept();
    server.addEventListener('message', (event) => server.send(event.data));
    return new Response(null, { status: 101, webSocket: client });
  },
};

// A room that sends each message to all of its sockets. It is a Durable Object, since only there sockets of several requests meet.
export class Room {
  constructor(state) {
    this.state = state;
  }

  async fetch(request) {
    const [client, server] = Object.values(new WebSocketPair());
    this.state.acceptWebSocket(server);
    return new Response(null, { status: 101, webSocket: client });
  }

  webSocketMessage(socket, message) {
    for (const s of this.state.getWebSockets()) s.send(message);
  }
}

export const lobby = {
  async fetch(request, env) {
    return env.rooms.get(env.rooms.idFromName('all')).fetch(request);
  },
};
