"""The sums, kept in the state from hour to hour by ring: what lies between one window and the next larger one.

An hour later little has changed: new rows, rows that moved to an older ring or out of the last, and whatever else
happened to some ids. All of it is taken from the rows and added or subtracted, in whole numbers, so that no order of
events leaves a trace. Once a day the sums are added up anew from all rows and held against those.
"""

from collections.abc import Sequence

import duckdb

from model.statistics import ENTITIES, HOUR, LONGEST_WINDOW, WINDOWS, Snapshot, windows_of
from model.training.dataset import read_snapshot
from model.training.refresh.chosen import rendered, transactions_sql
from model.training.refresh.contract import Rules
from model.training.refresh.sources import Changes
from model.training.refresh.state import State, gone_sql
from model.training.reports import verdicts_sql

RECOUNT_HOURS = 24
_MOST_HOURS = 48  # from one run to the next, for changes to be less work than adding up
_MOST_ROWS = 0.25  # share of the rows that may be concerned by changes
_EDGES = {entity: (0, *windows_of(entity).values()) for entity in ENTITIES}
_ALL_EDGES = sorted({edge for edges in _EDGES.values() for edge in edges})
_SUMS_AS_OF, _COUNTED = "sums as of hour", "added up at hour"
_COLUMNS = "key, ring, transactions, amount, amount_squared, reports"


def ring_sql(entity: str, as_of_hour: int) -> str:
    """Return the expression for the ring of an hour before this one, 0 for the youngest; null beyond the last."""
    rings = [f"WHEN hour >= {as_of_hour - outer} THEN {ring}" for ring, outer in enumerate(_EDGES[entity][1:])]
    return f"CASE WHEN hour >= {as_of_hour} THEN NULL {' '.join(rings)} END"


def rings_sql(entity: str, *, tiles: str, as_of_hour: int) -> str:
    """Return the query for the rings that an entity's tiles, or single events, add up to."""
    return rendered(
        "rings",
        tiles=tiles,
        ring=ring_sql(entity, as_of_hour),
        as_of=str(as_of_hour),
        longest=str(WINDOWS[LONGEST_WINDOW]),
    )


def tiles_of_rings_sql(entity: str, *, rings: str, as_of_hour: int) -> str:
    """Return the query for tiles that give for this hour the same sums as those that the rings were made of."""
    # A ring stands at its last hour.
    hours = " ".join(f"WHEN {ring} THEN {as_of_hour - inner - 1}" for ring, inner in enumerate(_EDGES[entity][:-1]))
    columns = _COLUMNS.replace("ring", f"CASE ring {hours} END AS hour")
    return f"SELECT {columns} FROM {rings}"


class Rings:
    """The sums of one run: `before` the rows of the state change, then `after`, in one transaction with that.

    Parameters
    ----------
    as_of_hour
        The hour to add up for.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, state: State, rules: Rules, *, as_of_hour: int) -> None:
        self._connection = connection
        self._state = state
        self._rules = rules
        self._hour = as_of_hour
        self._earlier: int | None = None  # the hour from which on changes are followed; None to add up everything

    def before(self, changes: Changes) -> None:
        """Note what is about to leave its ring."""
        earlier = self._noted(_SUMS_AS_OF)
        if earlier is None or not 0 <= self._hour - earlier <= _MOST_HOURS:
            return
        self._find_affected(changes)
        (affected,) = self._connection.execute("SELECT COUNT(*) FROM affected").fetchall()[0]
        if affected > _MOST_ROWS * self._state.count("rows"):
            return
        self._earlier = earlier
        self._create_verdicts()
        self._keep("left_affected", self._affected())
        self._keep("moved_payments", self._moved(self._in_bands("rows.tx_seconds", earlier)))
        reported = f"SELECT * FROM ({self._moved('rows.tx_fraud = 1')}) AS reported"
        self._keep("moved_reports", f"{reported} WHERE {self._in_bands(f'report_hour * {HOUR}', earlier)}")

    def after(self) -> tuple[str, ...]:
        """Bring the sums up to date, and return what there is to say of it."""
        self._create_verdicts()
        if self._earlier is None:
            self._count()
            return ()
        self._keep("came_affected", self._affected())
        for entity in ENTITIES:
            self._change(entity, self._earlier)
        self._state.note(_SUMS_AS_OF, str(self._hour))
        counted = self._noted(_COUNTED)
        return self._recounted() if counted is None or self._hour - counted >= RECOUNT_HOURS else ()

    def snapshot(self) -> Snapshot:
        """Return the statistics that the sums make."""
        for entity in ENTITIES:
            tiles = tiles_of_rings_sql(entity, rings=f"state.{entity}_rings", as_of_hour=self._hour)
            self._connection.execute(f"CREATE OR REPLACE TEMP VIEW {entity}_tiles AS {tiles}")
        return read_snapshot(self._connection, as_of_hour=self._hour)

    def _noted(self, name: str) -> int | None:
        text = self._state.noted(name)
        return None if text is None else int(text)

    def _find_affected(self, changes: Changes) -> None:
        """Note the ids of which anything but the passing of time may change what counts."""
        sources = ["incoming_rows", "incoming_reports", "state.repeated", "state.reports"]
        if changes.gone:
            sources.append(f"state.rows WHERE {gone_sql(changes)}")
        ids = " UNION ".join(f"SELECT transaction_id FROM {source}" for source in sources)
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE affected AS {ids}")

    def _create_verdicts(self) -> None:
        query = verdicts_sql(reports="state.reports")
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE verdicts AS {query}")

    def _verdicts(self) -> str | None:
        return "verdicts" if self._connection.execute("SELECT 1 FROM verdicts LIMIT 1").fetchone() else None

    def _affected(self) -> str:
        chosen = "rows.transaction_id IN (SELECT transaction_id FROM affected)"
        return transactions_sql(self._rules, verdicts=self._verdicts(), rows=chosen)

    def _moved(self, condition: str) -> str:
        chosen = f"{condition} AND rows.transaction_id NOT IN (SELECT transaction_id FROM affected)"
        return transactions_sql(self._rules, verdicts=None, rows=chosen)

    def _in_bands(self, seconds: str, earlier: int) -> str:
        """Return the condition for moments that were in another ring at the earlier hour than they are now."""
        bands = [
            f"({seconds} >= {(earlier - edge) * HOUR} AND {seconds} < {(self._hour - edge) * HOUR})"
            for edge in _ALL_EDGES
        ]
        return f"({' OR '.join(bands)})"

    def _keep(self, table: str, query: str) -> None:
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {query}")

    def _count(self) -> None:
        """Add up all rows."""
        for entity in ENTITIES:
            self._replace(entity, self._counted_sql(entity))
        for name in (_SUMS_AS_OF, _COUNTED):
            self._state.note(name, str(self._hour))

    def _counted_sql(self, entity: str) -> str:
        everything = f"({transactions_sql(self._rules, verdicts=self._verdicts())}) AS transactions"
        return rings_sql(entity, tiles=_events(entity, everything), as_of_hour=self._hour)

    def _change(self, entity: str, earlier: int) -> None:
        payments = f"(SELECT * FROM {_events(entity, 'moved_payments')} WHERE transactions = 1) AS payments"
        reports = f"(SELECT * FROM {_events(entity, 'moved_reports')} WHERE reports = 1) AS reports"
        moved = (payments, reports)
        query = rendered(
            "changed_rings",
            rings=f"state.{entity}_rings",
            came=self._at(entity, self._hour, (*moved, _events(entity, "came_affected"))),
            gone=self._at(entity, earlier, (*moved, _events(entity, "left_affected"))),
        )
        self._replace(entity, query)

    def _at(self, entity: str, hour: int, events: Sequence[str]) -> str:
        parts = [f"SELECT {_COLUMNS} FROM ({rings_sql(entity, tiles=one, as_of_hour=hour)}) AS part" for one in events]
        return f"({' UNION ALL '.join(parts)}) AS parts"

    def _replace(self, entity: str, query: str) -> None:
        self._connection.execute(f"CREATE OR REPLACE TABLE state.{entity}_rings AS {query}")

    def _recounted(self) -> tuple[str, ...]:
        """Add up all rows, and say so if the sums that were kept are others."""
        differing = []
        for entity in ENTITIES:
            self._keep("new_rings", self._counted_sql(entity))
            one, other = (f"SELECT {_COLUMNS} FROM {table}" for table in ("new_rings", f"state.{entity}_rings"))
            query = f"({one} EXCEPT {other}) UNION ALL ({other} EXCEPT {one}) LIMIT 1"
            differing += [entity] if self._connection.execute(query).fetchone() else []
        if differing:
            self._count()
            return (f"the sums per {' and '.join(differing)} were wrong and have been added up anew",)
        self._state.note(_COUNTED, str(self._hour))
        return ()


def _events(entity: str, transactions: str) -> str:
    return f"({rendered('events', entity=entity, transactions=transactions)}) AS events"
