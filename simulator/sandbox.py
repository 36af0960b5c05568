"""Runs the sandbox providers in a process of their own: `python -m simulator.sandbox`.

When ready it prints one JSON line with its URLs. It ends on SIGTERM or SIGINT, and when its parent is gone. uvloop is
used where it is installed: the sandbox should not be what limits a measurement.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

from simulator.providers.world import HOST, running

try:
    from uvloop import new_event_loop
except ImportError:  # the extra `fast` is optional
    from asyncio import new_event_loop  # type: ignore[assignment]  # a wider type

PARENT_CHECK_SECONDS = 0.5


def main() -> None:
    options = _options()
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_serve(options))
    except OSError as error:
        sys.exit(f"sandbox: cannot start on the ports or in the folder given ({error.strerror})")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="simulator.sandbox", description="Sandbox providers for SMS, e-mail and push."
    )
    parser.add_argument("--host", default=HOST, help="0.0.0.0 in a container whose ports are bound to loopback")
    parser.add_argument("--http-port", type=int, default=0, help="0 chooses a free one")
    parser.add_argument("--smtp-port", type=int, default=0, help="0 chooses a free one")
    parser.add_argument("--apns-port", type=int, default=0, help="0 chooses a free one")
    parser.add_argument("--imap-port", type=int, default=0, help="0 chooses a free one")
    parser.add_argument("--outbox", type=Path, required=True, help="folder for messages.jsonl, mail/ and index.html")
    parser.add_argument("--callback-base", default="", help="where the console's webhooks are; none: no callbacks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lifelike", action="store_true", help="refuse and lose a few, by a hash of seed and number")
    parser.add_argument("--parent-pid", type=int, default=0, help="end when this process is gone")
    return parser.parse_args()


async def _serve(options: argparse.Namespace) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    watch = asyncio.create_task(_watch_parent(options.parent_pid, ended)) if options.parent_pid else None
    async with running(
        options.outbox,
        host=options.host,
        http_port=options.http_port,
        smtp_port=options.smtp_port,
        apns_port=options.apns_port,
        imap_port=options.imap_port,
        callback_base=options.callback_base,
        seed=options.seed,
        lifelike=options.lifelike,
    ) as world:
        ready = {
            "http_url": world.http_url,
            "smtp_url": world.smtp_url,
            "apns_url": world.apns_url,
            "apns_certificate": str(world.apns_certificate),
            "imap_url": world.imap_url,
            "pid": os.getpid(),
        }
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        await ended.wait()
    if watch:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


async def _watch_parent(pid: int, ended: asyncio.Event) -> None:
    """A parent that is ours is gone when we are handed to another; any other when there is no such process."""
    is_ours = os.getppid() == pid
    while not ended.is_set():
        if os.getppid() != pid if is_ours else not _exists(pid):
            ended.set()
        await asyncio.sleep(PARENT_CHECK_SECONDS)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    main()
