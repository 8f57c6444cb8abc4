import pytest

from model.registry import CHAMPION, CURRENT, MODEL_NAME, STATISTICS_NAME, Publisher, RefusedError
from tests.model.registry.conftest import put, register

KEY, SCHEMA = "id_key_fingerprint", "feature_schema"


def back(publisher: Publisher, name: str, alias: str = CHAMPION, to: str | None = None) -> str | None:
    return publisher.rollback(name, alias, who="an engineer", why="too many declines", to=to).after


def test_each_rollback_goes_one_further_back_and_never_to_and_fro(publisher: Publisher, name: str) -> None:
    put(publisher, name, CHAMPION, *register(publisher, name, 3))
    assert [back(publisher, name), back(publisher, name)] == ["2", "1"]
    with pytest.raises(RefusedError, match=r"knows no version .* --to"):
        back(publisher, name)
    assert publisher.moves(name)[0].why == "too many declines"


def test_after_a_rollback_and_a_new_champion_the_bad_one_is_passed_over(publisher: Publisher, name: str) -> None:
    versions = register(publisher, name, 4)
    put(publisher, name, CHAMPION, *versions[:3])
    back(publisher, name)
    put(publisher, name, CHAMPION, versions[3])
    assert back(publisher, name) == "2"


def test_the_version_before_is_by_the_record_and_not_by_its_number(publisher: Publisher, name: str) -> None:
    register(publisher, name, 5)
    put(publisher, name, CHAMPION, "2", "5")
    assert back(publisher, name) == "2"


def test_a_version_set_by_hand_is_rolled_back_too(publisher: Publisher, name: str) -> None:
    register(publisher, name, 2)
    put(publisher, name, CHAMPION, "1")
    publisher.set_alias(name, CHAMPION, "2")
    assert back(publisher, name) == "1"


def test_versions_deleted_since_are_passed_over(publisher: Publisher, name: str) -> None:
    put(publisher, name, CHAMPION, *register(publisher, name, 3))
    publisher._client.delete_model_version(name, "2")
    assert back(publisher, name) == "1"


def test_a_version_can_be_named(publisher: Publisher, name: str) -> None:
    put(publisher, name, CHAMPION, *register(publisher, name, 3))
    assert back(publisher, name, to="1") == "1"
    assert back(publisher, name, to="3") == "3"
    with pytest.raises(RefusedError, match="no version 9"):
        back(publisher, name, to="9")


def test_an_alias_that_was_taken_away_comes_back(publisher: Publisher, name: str) -> None:
    put(publisher, name, CHAMPION, *register(publisher, name, 2))
    publisher._client.delete_registered_model_alias(name, CHAMPION)
    assert back(publisher, name) == "2"


def test_statistics_go_back_as_well(fresh: Publisher) -> None:
    put(fresh, STATISTICS_NAME, CURRENT, *register(fresh, STATISTICS_NAME, 2, feature_schema="a"))
    put(fresh, MODEL_NAME, CHAMPION, *register(fresh, MODEL_NAME, feature_schema="a"))
    assert back(fresh, STATISTICS_NAME, CURRENT) == "1"


@pytest.mark.parametrize("tag", [KEY, SCHEMA])
def test_half_a_pair_does_not_go_back_to_what_does_not_fit(fresh: Publisher, tag: str) -> None:
    changed(fresh, tag)
    for name, alias in ((MODEL_NAME, CHAMPION), (STATISTICS_NAME, CURRENT)):
        with pytest.raises(RefusedError, match=r"does not fit .*--with-statistics"):
            back(fresh, name, alias)
    assert fresh.moves(MODEL_NAME)[0].after == "2"


def test_where_a_tag_is_missing_nothing_is_held_against_it(fresh: Publisher) -> None:
    put(fresh, MODEL_NAME, CHAMPION, *register(fresh, MODEL_NAME), *register(fresh, MODEL_NAME, feature_schema="b"))
    put(fresh, STATISTICS_NAME, CURRENT, *register(fresh, STATISTICS_NAME, feature_schema="b"))
    assert back(fresh, MODEL_NAME) == "1"


def test_an_alias_that_no_pod_reads_may_go_back_to_anything(fresh: Publisher) -> None:
    changed(fresh, SCHEMA)
    put(fresh, MODEL_NAME, "challenger", "1", "2")
    assert back(fresh, MODEL_NAME, "challenger") == "1"


def test_a_pair_goes_back_to_the_newest_statistics_that_fit(fresh: Publisher) -> None:
    changed(fresh, SCHEMA)
    model, statistics = fresh.rollback_pair(who="an engineer", why="w")
    assert (model.before, model.after) == ("2", "1")
    assert (statistics.before, statistics.after) == ("3", "2")


def test_a_pair_keeps_statistics_that_fit_already(fresh: Publisher) -> None:
    put(fresh, MODEL_NAME, CHAMPION, *register(fresh, MODEL_NAME, 2, feature_schema="a"))
    put(fresh, STATISTICS_NAME, CURRENT, register(fresh, STATISTICS_NAME, 2, feature_schema="a")[0])
    model, statistics = fresh.rollback_pair(who="an engineer", why="w")
    assert (model.after, statistics.before, statistics.after) == ("1", "1", "1")


def test_a_model_that_no_statistics_fit_is_not_gone_back_to(fresh: Publisher) -> None:
    put(fresh, MODEL_NAME, CHAMPION, *register(fresh, MODEL_NAME, feature_schema="a"))
    put(fresh, MODEL_NAME, CHAMPION, *register(fresh, MODEL_NAME, feature_schema="b"))
    put(fresh, STATISTICS_NAME, CURRENT, *register(fresh, STATISTICS_NAME, feature_schema="b"))
    with pytest.raises(RefusedError, match="no version of 'fraud-statistics' fits fraud-model version 1"):
        fresh.rollback_pair(who="an engineer", why="w")


def changed(publisher: Publisher, tag: str) -> None:
    """A champion and statistics, then both with another key or schema: versions 1, 2 and then 2, 3."""
    first, second = ({tag: value} for value in "ab")
    old = register(publisher, MODEL_NAME, 1, **first)[0], register(publisher, STATISTICS_NAME, 2, **first)[0]
    new = register(publisher, MODEL_NAME, 1, **second)[0], register(publisher, STATISTICS_NAME, 1, **second)[0]
    publisher.move_pair(*old, who="job", why="w")
    publisher.move_pair(*new, who="job", why="w")
