"""What an alias named before, it names again."""

from model.registry.aliases import AliasMover, misfit
from model.registry.contract import ANY, CHAMPION, CURRENT, MODEL_NAME, STATISTICS_NAME, RefusedError
from model.registry.history import Move, told, trail

_PARTNERS = {
    (MODEL_NAME, CHAMPION): (STATISTICS_NAME, CURRENT),
    (STATISTICS_NAME, CURRENT): (MODEL_NAME, CHAMPION),
}


class Rollback(AliasMover):
    """Go back to what was there before."""

    def rollback(self, name: str, alias: str, *, who: str, why: str, to: str | None = None) -> Move:
        """Let an alias name again what it named before, and return the move.

        The previous version is the one below on the alias's trail, where a version that came back took back what came
        after it: two rollbacks in a row go two versions back, not to and fro. Versions deleted since are passed over.

        Parameters
        ----------
        to
            A version to go to instead.

        Raises
        ------
        RefusedError
            There is nothing to go back to, or the version does not fit the other half of the pair as it is now.
        LockedError, RegistryError, RegistryUnavailableError
            As `move_alias`.
        """
        with self._locked(name, who) as lease:
            target = to or self._previous(name, alias)
            if partner := _PARTNERS.get((name, alias)):
                self._refuse_misfit(name, target, *partner)
            plan = self._planned(name, alias, target, who=who, why=why, expected=ANY)
            return self._carried_out([plan], lease.check)[0]

    def rollback_pair(self, *, who: str, why: str, to: str | None = None) -> tuple[Move, Move]:
        """Let `champion` name the model before, and `current` the newest statistics that fit it; return both moves.

        For a champion whose features or id key differ from those of the one before: neither half can go back alone.
        Current statistics that fit stay.

        Raises
        ------
        RefusedError
            There is no model to go back to, or no statistics fit it.
        LockedError, RegistryError, RegistryUnavailableError
            As `move_alias`.
        """
        with self._both_locked(who) as check:
            target = to or self._previous(MODEL_NAME, CHAMPION)
            statistics = self._fitting_statistics(target)
            return self._pair_moved(target, statistics, who=who, why=why, expected=(ANY, ANY), check=check)

    def _previous(self, name: str, alias: str) -> str:
        page = self._page(name)
        stand = trail(move for move in told(name, page.tags, page.aliases) if move.alias == alias)
        for version in reversed(stand):
            if version != page.aliases.get(alias) and self._exists(name, version):
                return version
        raise RefusedError(
            f"the record of '{name}' knows no version that '{alias}' named before and that still exists: "
            "name one with --to"
        )

    def _refuse_misfit(self, name: str, version: str, partner: str, alias: str) -> None:
        standing = self._page(partner).aliases.get(alias)
        if standing is None:
            return
        reason = misfit(self._version(name, version).tags, self._version(partner, standing).tags)
        if reason:
            raise RefusedError(
                f"{name} version {version} does not fit '{partner}/{alias}', version {standing}: {reason}. "
                "Neither goes back alone: roll back both with --with-statistics"
            )

    def _fitting_statistics(self, model: str) -> str:
        tags = self._version(MODEL_NAME, model).tags
        current = self._page(STATISTICS_NAME).aliases.get(CURRENT)
        if current is not None and misfit(tags, self._version(STATISTICS_NAME, current).tags) is None:
            return current
        for version in self.versions(STATISTICS_NAME):
            if misfit(tags, version.tags) is None:
                return version.version
        raise RefusedError(f"no version of '{STATISTICS_NAME}' fits {MODEL_NAME} version {model}: refresh them first")
