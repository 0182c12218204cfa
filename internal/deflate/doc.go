// Package deflate implements permessage-deflate, the compression extension of WebSocket (RFC 7692): the negotiation, and the
// compression and decompression of messages.
//
// It handles messages and fragments of messages, but neither frames nor connections. Between calls a Compressor or
// Decompressor keeps only its history, the plaintext that later messages may refer to. Everything else that a call needs comes
// from pools.
package deflate
