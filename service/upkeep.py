"""What goes on beside the answers: reload, shadow, drift, and a watch on the garbage collector."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from model.settings import Settings
from service.drift import Drift
from service.judge import Judge
from service.reload import Reloader
from service.scorer import Loaded, Scorer
from service.shadow import Shadow


class Upkeep:
    """Runs all of it for a judge while the application runs.

    Parameters
    ----------
    busy
        Says whether a payment waits.
    """

    def __init__(self, settings: Settings, *, busy: Callable[[], bool]) -> None:
        self._settings = settings
        self._busy = busy

    @asynccontextmanager
    async def __call__(self, judge: Judge) -> AsyncIterator[None]:
        """Keep a judge up to date until the block ends."""
        drift = Drift(judge.telemetry.registry)
        drift.follow(judge.loaded.bundle.reference)
        judge.samples = (drift.sample,)
        shadow = self._shadow(judge)
        reloader = Reloader(
            self._settings,
            judge.loaded,
            swap=self._swap_into(judge, drift),
            freshness=judge.telemetry.freshness,
            follow=None if shadow is None else shadow.follow,
        )
        reloader.start()
        counting = asyncio.create_task(drift.run())
        try:
            with judge.telemetry.pauses.watching():
                yield
        finally:
            reloader.close()
            if shadow is not None:
                shadow.close()
            counting.cancel()
            with suppress(asyncio.CancelledError):
                await counting

    def _shadow(self, judge: Judge) -> Shadow | None:
        if not self._settings.shadow_share:
            return None

        def show(version: str | None) -> None:
            judge.challenger = version

        shadow = Shadow(self._settings, busy=self._busy, show=show)
        judge.telemetry.registry.register(shadow)
        judge.samples = (*judge.samples, shadow.sample)
        return shadow

    def _swap_into(self, judge: Judge, drift: Drift) -> Callable[[tuple[Loaded, ...]], None]:
        loop = asyncio.get_running_loop()
        hasher = self._settings.id_hasher()

        def take(scorer: Scorer, kept: tuple[Loaded, ...]) -> None:
            judge.take(scorer, kept=kept)
            drift.follow(scorer.loaded.bundle.reference)

        def swap(held: tuple[Loaded, ...]) -> None:
            # Made here, in the reload's thread; the loop only takes it.
            loop.call_soon_threadsafe(take, Scorer(held[0], hasher), held[1:])

        return swap
