"""The console's process: webhooks and the service pages, on uvicorn. `python -m console.serve`."""

import argparse
import socket

import uvicorn

from config import settings as configuration
from console.api import create_app
from worker import engines, logs

#: Requests and connections at a time; beyond it callers get 503 at once and come again.
MOST_AT_ONCE = 4_096


def main() -> None:
    options = _options()
    settings = configuration.load()
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings, engines.ensure(settings)),
            host=settings.console_host,
            port=settings.console_port,
            log_config=None,
            access_log=False,  # URLs carry contact ids
            limit_concurrency=MOST_AT_ONCE,
            proxy_headers=settings.public_url is None,  # a known public address needs no word of a proxy
            server_header=False,
            timeout_graceful_shutdown=10,
        )
    )
    server.run(sockets=[socket.socket(fileno=options.socket)] if options.socket is not None else None)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="console.serve", description="Webhooks and service pages.")
    parser.add_argument("--socket", type=int, help="a listening socket to inherit, instead of host and port")
    return parser.parse_args()


if __name__ == "__main__":
    main()
