"""The application: everything it needs is handed in, nothing is loaded at import."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from model.settings import Settings
from service.openapi import describe
from service.problems import RequestError, problem
from service.routes import router
from service.scorer import Loaded, Scorer
from service.telemetry import MeasureRequests, Telemetry

log = logging.getLogger("antifraud")

DESCRIPTION = """Judges a payment while it waits: `approve`, `review` or `decline`, with a calibrated probability of
fraud and the reasons for it in plain words, each with its exact share of the log-odds."""


def create_app(settings: Settings, load_bundle: Callable[[Settings], Loaded]) -> FastAPI:
    """Return the ASGI application.

    Parameters
    ----------
    settings
        Validated settings; the id key is taken from them.
    load_bundle
        Called once at start; returns the verified pair to serve. What it raises ends the start.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loaded = load_bundle(settings)
        app.state.scorer = Scorer(loaded, settings.id_hasher())
        app.state.telemetry.show_loaded(loaded)
        yield

    app: FastAPI = FastAPIOffline(
        title="Antifraud scoring",
        description=DESCRIPTION,
        redoc_url=None,
        redirect_slashes=False,
        swagger_ui_parameters={"validatorUrl": None},  # its default is a server on the internet
        lifespan=lifespan,
        version="1",
    )
    app.state.settings = settings
    app.state.telemetry = Telemetry()
    app.include_router(router)
    describe(app)
    app.add_middleware(MeasureRequests, telemetry=app.state.telemetry)
    app.add_exception_handler(RequestError, _refused)
    app.add_exception_handler(HTTPException, _no_such_page)
    app.add_exception_handler(Exception, _broken)
    return app


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)  # noqa: S101  registered for this type only
    return problem(error.status, error.detail, error.mistakes)


async def _no_such_page(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for this type only
    return problem(error.status_code, "See /docs for what can be asked.", headers=error.headers)


async def _broken(_: Request, error: Exception) -> Response:
    # The trace names code, never the payment: pydantic and our own errors carry no values.
    log.error("unexpected %s while answering", type(error).__name__, exc_info=error)
    return problem(500, "The answer could not be computed. The log of the service says why.")
