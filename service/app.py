"""The application: everything it needs is handed in, nothing is loaded at import."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from fastapi import FastAPI, Request, Response
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from model.settings import Settings
from service.decision_log import DecisionLog
from service.judge import Judge
from service.openapi import describe
from service.problems import RequestError, problem
from service.routes import router
from service.scorer import Loaded, Scorer
from service.telemetry import MeasureRequests, Telemetry

DESCRIPTION = """Judges a payment while it waits: `approve`, `review` or `decline`, with a calibrated probability of
fraud and the reasons for it in plain words, each with its exact share of the log-odds."""


Upkeep = Callable[[Judge], AbstractAsyncContextManager[None]]


def create_app(
    settings: Settings,
    load_bundle: Callable[[Settings], Loaded],
    decision_log: DecisionLog | None = None,
    *,
    upkeep: Upkeep | None = None,
) -> FastAPI:
    """Return the ASGI application.

    Parameters
    ----------
    settings
        Validated settings; the id key is taken from them.
    load_bundle
        Called once at start; returns the verified pair to serve. What it raises ends the start.
    decision_log
        Takes a line for every answer given; closed when the application ends.
    upkeep
        What goes on beside the answers while the application runs: reload, shadow, drift. Default: nothing.
    """
    judge = Judge(Telemetry(), decision_log)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        judge.take(Scorer(load_bundle(settings), settings.id_hasher()))
        async with nullcontext() if upkeep is None else upkeep(judge):
            yield
        judge.close()

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
    app.state.judge = judge
    app.include_router(router)
    describe(app)
    app.add_middleware(MeasureRequests, telemetry=judge.telemetry)
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


async def _broken(request: Request, error: Exception) -> Response:
    judge: Judge = request.app.state.judge
    return judge.broken(error)
