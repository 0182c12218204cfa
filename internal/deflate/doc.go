// Package deflate is permessage-deflate, the compression extension of WebSocket (RFC 7692): what the two
// sides agree on, and what turns the payload of a message into its compressed form and back.
//
// It knows messages and fragments of messages, but neither frames nor connections. A Compressor or
// Decompressor at rest holds the plaintext that later messages may refer to and nothing else: the machinery
// behind them is shared by all of them and borrowed for the length of a call.
package deflate
