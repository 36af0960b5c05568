"""The console's process: webhooks and the service pages, on uvicorn. `python -m console.serve`."""

import uvicorn

from config import settings as configuration
from console.api import create_app
from worker import engines, logs


def main() -> None:
    settings = configuration.load()
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    uvicorn.run(
        create_app(settings, engines.ensure(settings)),
        host=settings.console_host,
        port=settings.console_port,
        log_config=None,
        access_log=False,  # URLs carry contact ids
        timeout_graceful_shutdown=10,
    )


if __name__ == "__main__":
    main()
