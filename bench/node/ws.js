// The server of ws's README, with the options of a cell: ws.js [broadcast] [deflate=reset|takeover].
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

// Commands, as for the servers written in Go.
process.stdin.on('data', (commands) => {
  for (const command of String(commands).trim().split('\n')) {
    if (command === 'gc') {
      global.gc();
      console.log('ok');
    } else {
      console.log('{}');
    }
  }
});
process.stdin.on('end', () => process.exit(0));
