"""A client that goes through scenarios.

Standard input: JSON, a list of {url, protocols, deflate, steps: [step]}, where deflate holds the keyword arguments of
ClientPerMessageDeflateFactory (null: no compression) and a step is one of
  {echo: "text"|"binary", size, fragments}   send, and expect it back
  {say: text, answer: text}                  send a text, and expect the answer, if there is one
  {ping: data}                               send a ping, and expect its pong
  {close: code, reason}                      close; code 0: none
Standard output: JSON, a list of {extensions, protocol, code, reason, error}.
"""

import asyncio
import json
import sys

import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from payload import parts, payload


async def play(scenario):
    result = {}
    options = scenario.get("deflate")
    extensions = [ClientPerMessageDeflateFactory(**options)] if options is not None else []
    try:
        async with websockets.connect(
            scenario["url"],
            compression=None,
            extensions=extensions,
            subprotocols=scenario.get("protocols"),
            max_size=64 << 20,
        ) as ws:
            result["extensions"] = ws.response_headers.get("Sec-WebSocket-Extensions", "")
            result["protocol"] = ws.subprotocol or ""
            for step in scenario["steps"]:
                await take(ws, step)
            await ws.wait_closed()
            result["code"], result["reason"] = ws.close_code, ws.close_reason
    except Exception as err:
        result["error"] = repr(err)
    return result


async def take(ws, step):
    if "echo" in step:
        data = payload(step["echo"], step["size"])
        await ws.send(parts(data, step.get("fragments") or 1))
        if await ws.recv() != data:
            raise ValueError(f"echo of {step['size']} bytes of {step['echo']} differs")
    elif "say" in step:
        await ws.send(step["say"])
        answer = step.get("answer")
        if answer and await ws.recv() != answer:
            raise ValueError(f"{step['say']} is not answered with {answer}")
    elif "ping" in step:
        await (await ws.ping(step["ping"]))
    elif step["close"]:
        await ws.close(step["close"], step.get("reason", ""))
    else:
        await ws.write_close_frame(websockets.frames.Close(1005, ""), b"")


async def main():
    print(json.dumps([await play(s) for s in json.load(sys.stdin)]))


asyncio.run(main())
