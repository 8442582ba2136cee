"""A local server that speaks the read-aloud service's protocol, well or badly."""

import asyncio
import io
import json
import re
import threading
from types import TracebackType

import av
import numpy as np
from aiohttp import WSMsgType, web

TICKS = 10_000_000


def mp3_of(seconds: float) -> bytes:
    """A tone as 24 kHz 48 kbit/s MP3, as the service sends it."""
    samples = (0.3 * np.sin(2 * np.pi * 300 * np.arange(int(24000 * seconds)) / 24000)).astype(np.float32)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=24000, bit_rate=48000)
        stream.layout = "mono"
        stream.format = "fltp"
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = 24000
        frame.pts = 0
        for part in av.AudioResampler("fltp", "mono", 24000, frame_size=1152).resample(frame):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return buffer.getvalue()


class EdgeServer:
    """Runs in a thread; `mode` says how it behaves: words, silence, refuse, break, hang, drip, nonsense."""

    def __init__(self, mode: str = "words") -> None:
        self.mode = mode
        self.requests: list[str] = []  # the SSML texts asked for
        self.connections = 0
        self.failures_left = 10**9  # how often a bad mode is played before 'words'
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "EdgeServer":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get("/edge/v1", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"ws://127.0.0.1:{port}/edge/v1?TrustedClientToken=test"

    async def _stop(self) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.connections += 1
        mode = self.mode
        if mode != "words":
            self.failures_left -= 1
            if self.failures_left < 0:
                mode = "words"
        if mode == "refuse":
            raise web.HTTPForbidden
        if mode == "overloaded":
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type != WSMsgType.TEXT or "Path:ssml" not in message.data:
                continue
            text = re.sub(r"<[^>]+>", "", message.data.split("\r\n\r\n", 1)[1])
            self.requests.append(message.data)
            await self._answer(socket, text, mode)
        return socket

    async def _answer(self, socket: web.WebSocketResponse, text: str, mode: str) -> None:
        head = "X-RequestId:1\r\nContent-Type:application/json\r\n"
        await socket.send_str(f"{head}Path:turn.start\r\n\r\n{{}}")
        if mode == "hang":
            await asyncio.sleep(30)
            return
        if mode == "drip":
            for _ in range(300):
                await asyncio.sleep(0.1)
                await socket.ping()
            return
        if mode == "nonsense":
            await socket.send_str(f"{head}Path:audio.metadata\r\n\r\n{{not json")
            return
        if mode != "silence":
            words = re.findall(r"[\w']+", text)
            for i, word in enumerate(words):
                data = {
                    "Type": "WordBoundary",
                    "Data": {
                        "Offset": int((0.1 + 0.3 * i) * TICKS),
                        "Duration": int(0.25 * TICKS),
                        "text": {"Text": word, "Length": len(word), "BoundaryType": "WordBoundary"},
                    },
                }
                await socket.send_str(f"{head}Path:audio.metadata\r\n\r\n{json.dumps({'Metadata': [data]})}")
            sound = mp3_of(0.3 + 0.3 * len(words))
            if mode == "break":
                sound = sound[: len(sound) // 2]
            for at in range(0, len(sound), 720):
                await self._binary(socket, "Content-Type:audio/mpeg\r\n", sound[at : at + 720])
            if mode == "break":
                assert socket._req is not None and socket._req.transport is not None
                socket._req.transport.abort()
                return
            await self._binary(socket, "", b"")
        await socket.send_str(f"{head}Path:turn.end\r\n\r\n{{}}")

    @staticmethod
    async def _binary(socket: web.WebSocketResponse, content_type: str, data: bytes) -> None:
        header = f"X-RequestId:1\r\n{content_type}Path:audio\r\n".encode()
        await socket.send_bytes(len(header).to_bytes(2, "big") + header + data)
