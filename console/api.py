"""The console's web application: webhooks, and whether it is well."""

import asyncio
import hmac
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from channels.credentials import SANDBOX_TOKEN
from config.settings import Settings
from console.callbacks import Callbacks
from console.exposition import CONTENT_TYPE, Exposition
from console.intake import Intake
from console.webhooks import Webhooks
from storage import database
from worker.engines import Engines
from worker.reporting import Reporter
from worker.wiring import keyring

#: The shape of our JSON; a change that could break a reader raises it.
SCHEMA = 1


def create_app(settings: Settings, engines: Engines) -> Callbacks:
    """The application, callbacks in front. Its intake opens with the server and closes with it."""
    refused: Counter[str] = Counter()
    keys = keyring(settings)
    webhooks = Webhooks(keys, refused=refused)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        intake = webhooks.intake = callbacks.intake = Intake(engines.database_url)
        reporter = Reporter(engines.database_url, name=f"console@{socket.gethostname()}:{os.getpid()}", role="console")
        reporter.start()
        try:
            yield
        finally:
            await intake.close()
            await asyncio.to_thread(reporter.end)

    # No schema pages: nobody but providers and mail programs has business here.
    app = FastAPI(title="duly", lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(webhooks.router)

    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        """200 while the ledger can be written to, else 503."""
        is_up = await asyncio.to_thread(database.answers, engines.database_url)
        return JSONResponse(
            {"schema": SCHEMA, "database": "up" if is_up else "down", "refused": refused.total()},
            200 if is_up else 503,
        )

    exposition = Exposition(settings, engines.database_url, engines.broker_url)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        """What the fleet counts, for Prometheus: with the right token, where one is set."""
        if not _may_scrape(settings, request.headers.get("authorization", "")):
            return Response(status_code=401, headers={"WWW-Authenticate": "Bearer"})
        return Response(await asyncio.to_thread(exposition.text), media_type=CONTENT_TYPE)

    secret = settings.callback_secret
    callbacks = Callbacks(
        app,
        keys,
        twilio_token=_twilio_token(settings),
        twilio_algorithm=f"HMAC_{settings.twilio_webhook_algorithm.upper()}",
        public_url=settings.public_url,
        other_twilio_tokens=_other_twilio_tokens(settings),
        report_secret=secret.get_secret_value() if secret else None,
        refused=refused,
    )
    return callbacks


def _may_scrape(settings: Settings, authorization: str) -> bool:
    if settings.metrics_token is None:
        return True
    wanted = f"Bearer {settings.metrics_token.get_secret_value()}"
    return hmac.compare_digest(authorization.encode(), wanted.encode())


def _other_twilio_tokens(settings: Settings) -> list[str]:
    """What signs the callbacks of further accounts (DULY_PROVIDER_URLS)."""
    given = [urlsplit(url) for url in settings.urls_by_provider.values()]
    return [unquote(parts.password) for parts in given if parts.scheme == "twilio" and parts.password]


def _twilio_token(settings: Settings) -> str | None:
    """What signs Twilio's callbacks: our own account's token or shared key, or the sandbox's token."""
    if not settings.is_live:
        return SANDBOX_TOKEN
    secret = settings.twilio_webhook_secret or settings.twilio_auth_token
    return secret.get_secret_value() if secret else None
