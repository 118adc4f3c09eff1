"""TLS in front of a server that speaks plain TCP on loopback."""

import asyncio
import ssl
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

CHUNK = 64 * 1024


class TlsFront:
    """Accepts TLS and passes what it carries on to a port of this machine.

    Args:
        port: where the server listens.
        context: with the certificate to show.

    Attributes:
        port: where TLS is spoken.
    """

    port: int

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._behind, self._context = port, context
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(20)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        server, there = await asyncio.open_connection("127.0.0.1", self._behind)
        try:
            await asyncio.gather(_pass(client, there), _pass(server, back))
        finally:
            there.close()
            back.close()


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """What one end says goes to the other; when it has ended, so does the other."""
    with suppress(OSError):
        while chunk := await source.read(CHUNK):
            target.write(chunk)
            await target.drain()
    target.close()
