"""Answers as the HTTP providers give them, and the ways in which one can go wrong."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from simulator.providers.faults import FaultKind, FaultRule

GARBAGE = b"<!doctype html><title>It works</title>"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    retry_after: int | None = None

    def response(self) -> web.Response:
        headers = {"Retry-After": str(self.retry_after)} if self.retry_after is not None else None
        return web.Response(status=self.status, body=self.body, content_type="application/json", headers=headers)


async def answer_with_fault(
    request: web.BaseRequest,
    fault: FaultRule,
    *,
    accept: Callable[[], Awaitable[Answer]],
    refuse: Callable[[str], Answer],
) -> web.StreamResponse:
    """Do what the fault says; `accept` is called at most once, and not at all for the faults that come before."""
    match fault.kind:
        case FaultKind.REFUSE:
            return refuse(fault.code or "").response()
        case FaultKind.ERROR_BEFORE:
            return web.Response(status=500, body=GARBAGE)
        case FaultKind.DROP_BEFORE:
            return _drop(request)
        case FaultKind.STALL_BEFORE:
            await asyncio.sleep(fault.seconds)
            return (await accept()).response()
    answer = await accept()
    match fault.kind:
        case FaultKind.STALL_AFTER:
            await asyncio.sleep(fault.seconds)
        case FaultKind.DROP_AFTER:
            return _drop(request)
        case FaultKind.ERROR_AFTER:
            return web.Response(status=500, body=GARBAGE)
        case FaultKind.GARBAGE_AFTER:
            return web.Response(status=answer.status, body=GARBAGE, content_type="application/json")
        case FaultKind.HALF_AFTER:
            return await _half(request, answer)
    return answer.response()


def _drop(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _half(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers={"Content-Length": str(len(answer.body))})
    await response.prepare(request)
    await response.write(answer.body[: len(answer.body) // 2])
    if request.transport is not None:
        request.transport.abort()
    return response
