'use strict';

// A client that goes through scenarios. Standard input: JSON, a list of
//   {url, protocols, deflate, steps: [step]}
// where deflate is ws's perMessageDeflate and a step one of
//   {echo: 'text'|'binary', size, fragments}   send, and expect it back
//   {say: text, answer: text}                  send a text, and expect the answer, if there is one
//   {ping: data}                               send a ping, and expect its pong
//   {close: code, reason}                      close; code 0: none
// Standard output: JSON, a list of {extensions, protocol, code, reason, error}.

const { WebSocket } = require('ws');
const { once } = require('events');
const { payload, same } = require('./payload');

async function play({ url, protocols, deflate, steps }) {
  const result = {};
  const ws = new WebSocket(url, protocols || [], { perMessageDeflate: deflate, maxPayload: 64 << 20 });
  const closed = new Promise((resolve) => ws.on('close', (code, reason) => resolve([code, reason.toString()])));
  ws.on('upgrade', (response) => { result.extensions = response.headers['sec-websocket-extensions'] ?? ''; });
  ws.on('error', (err) => { result.error ??= String(err); });
  try {
    await once(ws, 'open');
    result.protocol = ws.protocol;
    for (const step of steps) await take(ws, step);
  } catch (err) {
    result.error ??= String(err);
    ws.terminate();
  }
  [result.code, result.reason] = await closed;
  return result;
}

async function take(ws, step) {
  if (step.echo) return echo(ws, step);
  if (step.say) return say(ws, step);
  if (step.ping !== undefined) return ping(ws, step.ping);
  if (step.close) return ws.close(step.close, step.reason);
  return ws.close();
}

async function say(ws, { say: text, answer }) {
  const back = answer && once(ws, 'message');
  ws.send(text);
  if (!answer) return;
  const [message] = await back;
  if (message.toString() !== answer) throw new Error(`${text} is answered with ${message}`);
}

async function echo(ws, { echo: kind, size, fragments = 1 }) {
  const data = payload(kind, size);
  const part = Math.ceil(size / fragments) || 1;
  const back = once(ws, 'message');
  for (let i = 0; i < fragments; i++) {
    ws.send(data.subarray(i * part, (i + 1) * part), { binary: kind === 'binary', fin: i === fragments - 1 });
  }
  const [message, isBinary] = await back;
  if (!same(kind, size, message, isBinary)) throw new Error(`echo of ${size} bytes of ${kind} differs`);
}

async function ping(ws, data) {
  const pong = once(ws, 'pong');
  ws.ping(data);
  const [got] = await pong;
  if (got.toString() !== data) throw new Error(`pong carries ${got}`);
}

let input = '';
process.stdin.on('data', (chunk) => { input += chunk; });
process.stdin.on('end', async () => {
  const results = [];
  for (const scenario of JSON.parse(input)) results.push(await play(scenario));
  console.log(JSON.stringify(results));
});
