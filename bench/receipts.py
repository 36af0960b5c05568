"""Receipts taken in per second: signed status callbacks over real sockets, until each is committed to the ledger.

`python -m bench.receipts` runs the console's own process on an embedded PostgreSQL with fsync on, and beside it the
same load against a bare uvicorn application that answers 204 and stores nothing: what the server and the sockets cost.
The callbacks are signed beforehand, so that what is measured is taking them in.
"""

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import psutil
import uvicorn
from twilio.request_validator import RequestValidator

from bench.results import Figure
from channels.credentials import SANDBOX_TOKEN
from config.settings import Settings, child_environment
from domain.contact import new_contact_id
from storage import database, schema
from worker import engines

ROUNDS = 3
RECEIPTS = 9_000
CONNECTIONS = 512

GOAL = 3_000
PUBLIC_URL = "https://duly.example"


def requests(number: int, salt: str) -> list[bytes]:
    """Signed callbacks as Twilio sends them, each about a contact of its own."""
    validator = RequestValidator(SANDBOX_TOKEN)
    made = []
    for index in range(number):
        path = f"/callbacks/twilio/status?contact={new_contact_id(datetime.now(UTC))}&party={index}"
        sid = f"SM{salt}{index:024x}"
        fields = {
            "AccountSid": "AC" + "5a" * 16, "ApiVersion": "2010-04-01", "From": "+15005550006", "MessageSid": sid,
            "MessageStatus": "delivered", "SmsSid": sid, "SmsStatus": "delivered", "To": "+886912345678",
        }  # fmt: skip
        body = urlencode(fields).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: duly.example\r\nUser-Agent: TwilioProxy/1.1\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
            f"X-Twilio-Signature: {validator.compute_signature(PUBLIC_URL + path, fields)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


async def pour(port: int, made: Sequence[bytes]) -> float:
    """Send them over kept-alive connections, one at a time on each; seconds until the last is answered with 204."""
    left = iter(made)

    async def caller() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in left:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 204 " not in head[:20]:
                raise RuntimeError(f"not taken in: {head[:60]!r}")
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CONNECTIONS)))
    return time.perf_counter() - began


@contextmanager
def serving(command: Sequence[str], environment: dict[str, str]) -> Iterator[tuple[int, psutil.Process]]:
    """A server on a socket of ours."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as door:
        process = subprocess.Popen(
            [*command, "--socket", str(door.fileno())], env=environment, pass_fds=(door.fileno(),)
        )
        try:
            port = door.getsockname()[1]
            _wait_for(port)
            yield port, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(20)


def _wait_for(port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as probe:
                probe.settimeout(5)
                probe.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                if probe.recv(64).startswith(b"HTTP/1.1 20"):
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError("the server does not come up")


def _cpu(process: psutil.Process) -> float:
    family = [process, *process.children(recursive=True)]
    return sum(sum(each.cpu_times()[:2]) for each in family)


def measure(port: int, process: psutil.Process, salt: str) -> tuple[float, float]:
    """Receipts a second, and the server's CPU microseconds for each."""
    made, before = requests(RECEIPTS, salt), _cpu(process)
    seconds = asyncio.run(pour(port, made))
    return RECEIPTS / seconds, (_cpu(process) - before) / RECEIPTS * 1e6


def run(home: Path | None = None, *, rounds: int = ROUNDS) -> list[Figure]:
    """Ours and the bare server in turn, on fresh callbacks each time."""
    with tempfile.TemporaryDirectory(prefix="duly-bench-") as made:
        settings = Settings(home=home or Path(made), public_url=PUBLIC_URL)
        try:
            url = engines.ensure(settings).database_url
            schema.migrate(url)
            return [_compare(settings, url, rounds)]
        finally:
            engines.stop(settings)


def _compare(settings: Settings, url: str, rounds: int) -> Figure:
    ours: list[tuple[float, float]] = []
    bare: list[tuple[float, float]] = []
    console = [sys.executable, "-m", "console.serve"]
    plain = [sys.executable, "-m", "bench.receipts"]
    with (
        serving(console, child_environment(settings)) as (our_port, our_process),
        serving(plain, dict(os.environ)) as (bare_port, bare_process),
    ):
        for number in range(rounds + 1):
            measured = measure(our_port, our_process, f"{number:08x}")
            yardstick = measure(bare_port, bare_process, f"{number:08x}")
            if number:  # the first warms up
                ours.append(measured)
                bare.append(yardstick)
    with database.connect(url) as conn:
        stored = conn.execute("SELECT count(*) FROM inbox").fetchone()
    if stored != ((rounds + 1) * RECEIPTS,):
        raise RuntimeError("not every receipt that was answered is in the ledger")
    rates = [rate for rate, _ in ours]
    return Figure(
        name="receipts",
        ours=statistics.median(rates),
        yardstick=GOAL,
        yardstick_name="the goal, into the ledger",
        ratio=statistics.median(rates) / GOAL,
        goal=1.0,
        unit="receipts/s",
        rounds=len(rates),
        cpu_us=statistics.median(cpu for _, cpu in ours),
        detail={
            "connections": CONNECTIONS,
            "rates": [round(rate) for rate in rates],
            "bare uvicorn that stores nothing": round(statistics.median(rate for rate, _ in bare)),
            "its CPU us": round(statistics.median(cpu for _, cpu in bare)),
        },
    )


async def _nothing(scope: dict[str, object], receive: object, send: object) -> None:
    """Answers 204 to everything."""
    if scope["type"] != "http":
        return
    more = True
    while more:
        more = (await receive()).get("more_body", False)  # type: ignore[operator]
    await send({"type": "http.response.start", "status": 204, "headers": []})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]


def main() -> None:
    if "--socket" in sys.argv:
        serve_nothing(int(sys.argv[sys.argv.index("--socket") + 1]))
        return
    (found,) = run()
    print(json.dumps(asdict(found), indent=2))
    print(f"{found.ours:,.0f} receipts/s into the ledger (goal {GOAL:,}: {'met' if found.ours >= GOAL else 'missed'})")


def serve_nothing(descriptor: int) -> None:
    config = uvicorn.Config(_nothing, log_config=None, access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    main()
