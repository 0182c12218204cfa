'use strict';

// An echo server per set of options. Standard input: a line of JSON, the list of perMessageDeflate options
// (false: no compression). Standard output: a line of JSON, the list of their ports. It ends with its standard input.
//
// Commands are text messages: "!close <code> <reason>" (code 0: none), "!ping <data>" (the pong's data comes back as text) and
// "!fragments <n>" (from now on echoes have n frames).

const { WebSocketServer } = require('ws');

function serve(perMessageDeflate) {
  const server = new WebSocketServer({
    host: '127.0.0.1', port: 0, perMessageDeflate, maxPayload: 64 << 20,
    handleProtocols: (offered) => (offered.has('chat') ? 'chat' : false),
  });
  server.on('connection', converse);
  return new Promise((resolve) => server.on('listening', () => resolve(server.address().port)));
}

function converse(ws) {
  let fragments = 1;
  ws.on('pong', (data) => ws.send(data.toString()));
  ws.on('error', (err) => console.error(String(err)));
  ws.on('message', (data, isBinary) => {
    const [, command, rest] = (!isBinary && data.length < 200 && /^!(\w+) ?(.*)$/.exec(data.toString())) || [];
    switch (command) {
      case 'close': return close(ws, rest);
      case 'ping': return ws.ping(rest);
      case 'fragments': fragments = Number(rest); return;
    }
    send(ws, data, isBinary, fragments);
  });
}

function close(ws, args) {
  const [code, ...reason] = args.split(' ');
  if (code === '0') ws.close();
  else ws.close(Number(code), reason.join(' '));
}

function send(ws, data, binary, fragments) {
  const size = Math.ceil(data.length / fragments) || 1;
  for (let i = 0; i < fragments; i++) {
    ws.send(data.subarray(i * size, (i + 1) * size), { binary, fin: i === fragments - 1 });
  }
}

process.stdin.once('data', async (line) => {
  const ports = await Promise.all(JSON.parse(line).map(serve));
  console.log(JSON.stringify(ports));
});
process.stdin.on('end', () => process.exit());
