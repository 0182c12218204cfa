// The server with uWebSockets, for version 20 of it:
//
//     server PORT WORK COMPRESSION
//
// WORK is broadcast, or anything else to send each message back. COMPRESSION is reset or takeover, without and with context takeover, or
// anything else for none. It listens on the loopback interface, and ends when it is killed.
#include "App.h"

#include <cstdlib>
#include <string_view>
#include <utility>

// Nothing is kept for a connection.
struct Connection {};

using WebSocket = uWS::WebSocket<false, true, Connection>;

// largest is the size up to which messages are read, and to which unsent ones pile up, in bytes: more than any cell has.
constexpr unsigned int largest = 16 << 20;

// The topic that all connections of a broadcast subscribe to.
constexpr std::string_view topic = "all";

uWS::CompressOptions compressor(std::string_view compression) {
	if (compression == "reset") {
		return uWS::SHARED_COMPRESSOR;
	}
	if (compression == "takeover") {
		return uWS::CompressOptions(uWS::DEDICATED_COMPRESSOR | uWS::DEDICATED_DECOMPRESSOR);
	}
	return uWS::DISABLED;
}

int main(int argc, char **argv) {
	if (argc != 4) {
		return EXIT_FAILURE;
	}
	const int port = std::atoi(argv[1]);
	const bool broadcasts = std::string_view(argv[2]) == "broadcast";
	uWS::App app;
	uWS::App::WebSocketBehavior<Connection> behavior;
	behavior.compression = compressor(argv[3]);
	behavior.maxPayloadLength = largest;
	behavior.maxBackpressure = largest;
	const bool compresses = behavior.compression != uWS::DISABLED;
	if (broadcasts) {
		behavior.open = [](WebSocket *ws) { ws->subscribe(topic); };
		behavior.message = [&app, compresses](WebSocket *, std::string_view message, uWS::OpCode code) {
			app.publish(topic, message, code, compresses);
		};
	} else {
		behavior.message = [compresses](WebSocket *ws, std::string_view message, uWS::OpCode code) {
			ws->send(message, code, compresses);
		};
	}
	app.ws<Connection>("/*", std::move(behavior));
	bool listens = false;
	app.listen("127.0.0.1", port, [&listens](us_listen_socket_t *socket) { listens = socket != nullptr; });
	if (!listens) {
		return EXIT_FAILURE;
	}
	app.run();
	return EXIT_SUCCESS;
}
