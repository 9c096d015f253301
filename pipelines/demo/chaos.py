"""Answers that go wrong as real APIs' answers do, placed around an API's app."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, assert_never

from starlette.responses import HTMLResponse, PlainTextResponse, Response

from pipelines.demo.faults import Fault, Faults

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SLOW_S = 1.0
_GATEWAY_PAGE = "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"


class Chaos:
    """Let some requests of one origin go wrong."""

    def __init__(self, app: ASGIApp, *, origin: str, faults: Faults) -> None:
        self.app = app
        self.origin = origin
        self.faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or fail as the seed has it."""
        target = f"{scope['path']}?{scope['query_string'].decode('latin-1')}"
        fault = self.faults.next(f"{scope['method']} {self.origin}{target}")
        if fault is None:
            await self.app(scope, receive, send)
        elif fault == "cut connection":
            await _cut(receive)
        elif fault == "truncated body":
            await self._truncated(scope, receive, send)
        elif fault == "slow answer":
            await asyncio.sleep(_SLOW_S)
            await self.app(scope, receive, send)
        else:
            await _refusal(fault)(scope, receive, send)

    async def _truncated(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The headers of the whole answer, half of its body, then the end of the connection."""
        start: Message = {}
        body = b""

        async def keep(message: Message) -> None:
            nonlocal start, body
            start = start or message
            body += message.get("body", b"")

        await self.app(scope, receive, keep)
        if not body:
            await _cut(receive)
            return
        await send(start)
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        await _cut(receive)


def _refusal(fault: Fault) -> Response:
    match fault:
        case "429":
            return PlainTextResponse("Too Many Requests", 429)
        case "429 with Retry-After":
            return PlainTextResponse("Too Many Requests", 429, {"Retry-After": "1"})
        case "500":
            return HTMLResponse(_GATEWAY_PAGE.format("500 Internal Server Error"), 500)
        case "503":
            return HTMLResponse(_GATEWAY_PAGE.format("503 Service Unavailable"), 503)
        case "cut connection" | "truncated body" | "slow answer":
            raise AssertionError(f"{fault} is no refusal")
        case _:
            assert_never(fault)


async def _cut(receive: Receive) -> None:
    """End the connection once what was sent has left, and wait until the server knows."""
    # ASGI has no word for this: uvicorn's `receive` belongs to the object that holds the transport
    exchange: Any = getattr(receive, "__self__")  # noqa: B009 - Receive is any callable to the checker
    exchange.transport.close()
    while (await receive())["type"] != "http.disconnect":
        pass
