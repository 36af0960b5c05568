"""The console's web application: webhooks, and whether it is well."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from channels.credentials import SANDBOX_TOKEN
from config.settings import Settings
from console.intake import Intake
from console.webhooks import Webhooks
from storage import database
from worker.engines import Engines
from worker.wiring import keyring

#: The shape of our JSON; a change that could break a reader raises it.
SCHEMA = 1


def create_app(settings: Settings, engines: Engines) -> FastAPI:
    """The application. Its intake opens with the server and closes with it."""
    webhooks = Webhooks(keyring(settings), twilio_token=_twilio_token(settings), public_url=settings.public_url)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        webhooks.intake = Intake(engines.database_url)
        try:
            yield
        finally:
            await webhooks.intake.close()

    # No schema pages: nobody but providers and mail programs has business here.
    app = FastAPI(title="duly", lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(webhooks.router)

    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        """200 while the ledger can be written to, else 503."""
        is_up = await asyncio.to_thread(database.answers, engines.database_url)
        return JSONResponse(
            {"schema": SCHEMA, "database": "up" if is_up else "down", "refused": sum(webhooks.refused.values())},
            200 if is_up else 503,
        )

    return app


def _twilio_token(settings: Settings) -> str | None:
    """What signs Twilio's callbacks: our own account's token, or the sandbox's."""
    if not settings.is_live:
        return SANDBOX_TOKEN
    return settings.twilio_auth_token.get_secret_value() if settings.twilio_auth_token else None
