// The server that ws's README shows, with what a cell asks for: ws.js [broadcast] [deflate=reset|takeover].
'use strict';

const { WebSocketServer } = require('ws');

const options = new Map(process.argv.slice(2).map((arg) => arg.split('=')));

function deflate() {
  const kept = options.get('deflate');
  if (kept === undefined) return false;
  const reset = kept === 'reset';
  return {
    zlibDeflateOptions: { level: 1 },
    serverNoContextTakeover: reset,
    clientNoContextTakeover: reset,
    threshold: 0,
  };
}

const server = require('node:http').createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: deflate() });

sockets.on('connection', (ws) => {
  ws.on('error', () => {});
  ws.on('message', (data, isBinary) => {
    if (!options.has('broadcast')) {
      ws.send(data, { binary: isBinary });
      return;
    }
    for (const client of sockets.clients) client.send(data, { binary: isBinary });
  });
});

server.listen(0, '127.0.0.1', 4096, () => console.log(`listening 127.0.0.1:${server.address().port}`));

// Orders, as the servers written in Go take them.
process.stdin.on('data', (orders) => {
  for (const order of String(orders).trim().split('\n')) {
    if (order === 'gc') {
      global.gc();
      console.log('ok');
    } else {
      console.log('{}');
    }
  }
});
process.stdin.on('end', () => process.exit(0));
