"""An echo server per set of options.

Standard input: a line of JSON, the list of keyword arguments of ServerPerMessageDeflateFactory (null: no compression).
Standard output: a line of JSON, the list of their ports. It ends with its standard input.

Commands are text messages: "!close <code> <reason>" (code 0: none), "!ping <data>" (the pong comes back as text) and
"!fragments <n>" (from now on echoes have n frames).
"""

import asyncio
import json
import sys

import websockets
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

from payload import parts


async def converse(ws):
    try:
        await obey(ws)
    except websockets.ConnectionClosedError as err:
        if not err.rcvd:  # codes other than 1000 and 1001 are part of the test
            raise


async def obey(ws):
    fragments = 1
    async for message in ws:
        command, _, rest = message.partition(" ") if isinstance(message, str) else ("", "", "")
        if command == "!close":
            await close(ws, rest)
        elif command == "!ping":
            await (await ws.ping(rest))
            await ws.send(rest)
        elif command == "!fragments":
            fragments = int(rest)
        else:
            await ws.send(parts(message, fragments))


async def close(ws, args):
    code, _, reason = args.partition(" ")
    if code == "0":
        await ws.write_close_frame(websockets.frames.Close(1005, ""), b"")
    else:
        await ws.close(int(code), reason)


async def serve(options):
    extensions = [ServerPerMessageDeflateFactory(**options)] if options is not None else []
    server = await websockets.serve(
        converse, "127.0.0.1", 0, compression=None, extensions=extensions, subprotocols=["chat"], max_size=64 << 20
    )
    return server.sockets[0].getsockname()[1]


async def main():
    loop = asyncio.get_running_loop()
    options = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    print(json.dumps([await serve(o) for o in options]), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
