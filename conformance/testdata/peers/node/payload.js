'use strict';

// The same payload in every peer: n bytes that depend on n only.

function payload(kind, n) {
  const block = Buffer.alloc(65536);
  for (let i = 0; i < block.length; i++) {
    const v = (i * 7 + (i >> 8)) & 0xff;
    block[i] = kind === 'text' ? 97 + v % 26 : v;
  }
  return Buffer.alloc(n, block);
}

function same(kind, n, data, isBinary) {
  return isBinary === (kind === 'binary') && data.equals(payload(kind, n));
}

module.exports = { payload, same };
