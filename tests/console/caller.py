"""The console served over a real socket, and a provider that calls it."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

import uvicorn
from twilio.request_validator import RequestValidator

from channels.credentials import SANDBOX_TOKEN
from config.settings import Settings
from console.api import create_app
from worker.engines import Engines

#: Where the world knows us; the server itself listens elsewhere, as behind a proxy.
PUBLIC = "https://duly.example"


class Caller:
    """A provider that calls our webhooks."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def signed(self, path: str, fields: dict[str, str], *, url: str | None = None) -> tuple[int, str]:
        signature = RequestValidator(SANDBOX_TOKEN).compute_signature(url or PUBLIC + path, fields)
        return self.ask(
            "POST", path, urlencode(fields).encode(), X_Twilio_Signature=signature,
            Content_Type="application/x-www-form-urlencoded",
        )  # fmt: skip


@contextmanager
def serving(home: Settings, database_url: str) -> Iterator[Caller]:
    app = create_app(home, Engines(database_url, "redis://127.0.0.1:1", embedded=False))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, ws="none", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        yield Caller(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(10)
