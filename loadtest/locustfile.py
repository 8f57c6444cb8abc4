"""Locust with arrivals at a fixed rate: a scheduler says when a payment is due, users only carry it.

Locust by itself is a closed loop: a user asks again when it was answered, so a stalled service is asked less, and its
worst seconds are counted once each. Here all latencies count from the moment a payment was due.

Started by `loadtest/run.py`; by hand, from the root of the repository, in one process and without the web page:

    python -m locust -f loadtest/locustfile.py --headless --profile step --host http://127.0.0.1:8000 --history DIR
"""

import gc
import random
import time
from datetime import UTC, datetime
from typing import Any, NamedTuple

import gevent
import locust.stats
from gevent.queue import Queue
from locust import FastHttpUser, LoadTestShape, events
from locust.env import Environment

from loadtest.ledger import Ledger, LoadResult, Outcome, classify
from loadtest.options import add_load_options, profile_from
from loadtest.pauses import Pauses, as_json, breaches, describe, read_pauses
from loadtest.payments import day_after, read_payments_apart, request_bodies
from loadtest.profiles import GC_PAUSE_MS, PROFILES, Profile
from loadtest.report import MISSED, Verdict, describe_machine, insert_section, judge, render_table, write_json
from loadtest.service import find_service

AWAKE = 0.002  # seconds; gevent sleeps only to the millisecond, so the last stretch is waited for awake
HEADERS = {"content-type": "application/json", "accept-encoding": "identity"}


class _Due(NamedTuple):
    moment: float
    stage: int
    body: bytes


class _Load:
    """The one load of this process: what is due, and what became of it."""

    def __init__(self, environment: Environment) -> None:
        options: Any = environment.parsed_options
        if options.profile not in PROFILES or options.history is None:
            raise SystemExit(f"--history and --profile must be given; the profiles are {', '.join(PROFILES)}")
        self.options = options
        self.environment = environment
        self.profile: Profile = profile_from(options.profile, options)
        self.ledgers = [Ledger() for _ in self.profile.stages]
        self.queue: Queue[_Due] = Queue()
        self.finished = False
        self._started = False
        self._service = find_service(environment.host or "")
        self._bodies = self._request_bodies()
        self._pauses = read_pauses(self._service)

    def _request_bodies(self) -> Any:
        payments = read_payments_apart(self.options.history)
        run = self.options.run_name or f"{time.time_ns() // 1000:x}"
        return request_bodies(
            payments,
            run=run,
            as_of=self._service.statistics_as_of() or day_after(payments),
            rng=random.Random(run),  # noqa: S311  no secret, and repeatable
            unknown_share=self.options.unknown_share,
        )

    def start(self, user_count: int) -> None:
        """Let payments arrive, once all users are there."""
        if not self._started and user_count >= self.options.connections:
            self._started = True
            gc.collect()
            gc.freeze()
            gevent.spawn(self._arrive)

    def _arrive(self) -> None:
        start = time.perf_counter()
        for offset, stage in self.profile.arrivals():
            due = start + offset
            _wait_until(due)
            self.ledgers[stage].notice(time.perf_counter() - due)
            self.queue.put(_Due(due, stage, next(self._bodies)))
        self._wait_for_the_rest()
        self.finished = True

    def _wait_for_the_rest(self) -> None:
        due = sum(round(stage.rate * stage.seconds) for stage in self.profile.stages)
        # For a free connection, for the connection itself, and for the answer.
        deadline = time.perf_counter() + 3 * self.options.answer_timeout + 1
        while sum(ledger.recorded for ledger in self.ledgers) < due and time.perf_counter() < deadline:
            gevent.sleep(0.05)

    def carry(self, user: FastHttpUser) -> None:
        """Send the next due payment as soon as there is one, and note how it ended."""
        due: _Due = self.queue.get()
        if time.perf_counter() - due.moment > self.options.answer_timeout:
            self._note_unsent(due)
            return
        with user.client.post("/predict", data=due.body, headers=HEADERS, catch_response=True) as response:
            latency = time.perf_counter() - due.moment
            outcome, cause = _ending(response)
            self.ledgers[due.stage].record(outcome, latency, cause)
            response.request_meta["response_time"] = 1000 * latency
            response.request_meta["name"] = self._row(due, outcome)
            if outcome in (Outcome.ANSWERED, Outcome.REFUSED):
                response.success()
            else:
                response.failure(cause)

    def _note_unsent(self, due: _Due) -> None:
        latency, cause = time.perf_counter() - due.moment, "no free connection in time"
        self.ledgers[due.stage].record(Outcome.UNSENT, latency, cause)
        self.environment.events.request.fire(
            request_type="POST",
            name=self._row(due, Outcome.UNSENT),
            response_time=1000 * latency,
            response_length=0,
            exception=TimeoutError(cause),
            context={},
        )

    def _row(self, due: _Due, outcome: Outcome) -> str:
        """Return the row of Locust's tables: what is refused in time must not flatter the answers' times."""
        stage = self.profile.stages[due.stage].name
        return f"{stage}: {'refused' if outcome is Outcome.REFUSED else '/predict'}"

    def results(self) -> list[LoadResult]:
        """Return each stage's account."""
        pairs = zip(self.profile.stages, self.ledgers, strict=True)
        return [ledger.result(rate=stage.rate, seconds=stage.seconds, due=ledger.noticed) for stage, ledger in pairs]

    def pauses(self) -> Pauses | None:
        """Return the pauses of the service's garbage collector since the start; None if it does not count them."""
        after = read_pauses(self._service)
        return after.since(self._pauses) if after and self._pauses else None

    def verdict(self, results: list[LoadResult], pauses: Pauses | None) -> Verdict:
        """Hold the stages, and the garbage collector, to their limits."""
        verdict = judge(self.profile.stages, results).with_breaches(breaches(pauses, GC_PAUSE_MS))
        if self.finished:
            return verdict
        return Verdict(MISSED, ("stopped before its end", *verdict.breaches))


def _wait_until(moment: float) -> None:
    while (left := moment - time.perf_counter()) > 0:
        gevent.sleep(left - AWAKE if left > AWAKE else 0)


def _ending(response: Any) -> tuple[Outcome, str]:
    if not response.status_code:
        return Outcome.TRANSPORT_ERROR, type(getattr(response, "error", None)).__name__
    has_hint = "retry-after" in response.headers
    return classify(response.status_code, retry_after=has_hint), f"status {response.status_code}"


_loads: list[_Load] = []  # one, once Locust has read its options; Locust makes users and shape by itself


def _add_options(parser: Any) -> None:
    add_load_options(parser)


def _prepare(environment: Environment, **_: Any) -> None:
    load = _Load(environment)
    _loads.append(load)
    PaymentUser.connection_timeout = PaymentUser.network_timeout = load.options.answer_timeout
    environment.events.spawning_complete.add_listener(load.start)


def _conclude(environment: Environment, **_: Any) -> None:
    (load,) = _loads
    results = load.results()
    pauses = load.pauses()
    verdict = load.verdict(results, pauses)
    title = f"{load.profile.name} on {environment.host}"
    print(f"\n{title}\n\n{render_table(load.profile.stages, results, verdict)}", flush=True)
    print(describe(pauses, GC_PAUSE_MS), flush=True)
    if load.options.summary is not None:
        write_json(load.options.summary, _document(load, results, verdict) | {"gc": as_json(pauses, GC_PAUSE_MS)})
    if load.options.html_file:
        _complete_page(load, title, results, verdict)
    environment.process_exit_code = verdict.exit_code


def _document(load: _Load, results: list[LoadResult], verdict: Verdict) -> dict[str, Any]:
    pairs = zip(load.profile.stages, results, strict=True)
    return {
        "profile": load.profile.name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": load.environment.host,
        "machine": describe_machine(),
        "exit_code": verdict.exit_code,
        "verdict": verdict.words,
        "breaches": list(verdict.breaches),
        "stages": [{"stage": stage.name} | result.as_json() for stage, result in pairs],
    }


def _complete_page(load: _Load, title: str, results: list[LoadResult], verdict: Verdict) -> None:
    with open(load.options.html_file, encoding="utf-8") as file:  # noqa: PTH123  Locust has just written it
        page = file.read()
    page = insert_section(page, title, load.profile.stages, results, verdict)
    with open(load.options.html_file, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(page)


class FixedRate(LoadTestShape):  # type: ignore[misc]  # not installed where types are checked
    """All users from the start until the last payment has ended: users are connections here, not load."""

    def tick(self) -> tuple[int, float] | None:
        """Return how many users there should be, or None at the end."""
        (load,) = _loads
        count = load.options.connections
        return None if load.finished else (count, float(count))


def _pay(user: FastHttpUser) -> None:
    (load,) = _loads
    load.carry(user)


class PaymentUser(FastHttpUser):  # type: ignore[misc]  # as above
    """One keep-alive connection that carries what is due."""

    concurrency = 1
    tasks = (_pay,)


locust.stats.HISTORY_STATS_INTERVAL_SEC = 1.0  # a point of the charts each second: a step is over in some of them
locust.stats.PERCENTILES_TO_CHART = [0.5, 0.99]
events.init_command_line_parser.add_listener(_add_options)
events.init.add_listener(_prepare)
events.quitting.add_listener(_conclude)
