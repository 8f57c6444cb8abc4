from collections.abc import Iterator
from pathlib import Path

import pytest

from model.registry import Publisher
from tests.model.registry.others import Other, others, race_for_an_alias, take_over_from_the_dead

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def crew(uri: str, publisher: Publisher) -> Iterator[list[Other]]:
    with others(uri, 3) as crew:
        yield crew


def test_of_two_processes_that_move_an_alias_at_once_exactly_one_wins(
    crew: list[Other], publisher: Publisher, name: str
) -> None:
    race_for_an_alias(crew[1:], publisher, name)


def test_a_killed_holder_is_replaced_by_one_waiter_at_a_time(
    crew: list[Other], publisher: Publisher, name: str, tmp_path: Path
) -> None:
    take_over_from_the_dead(crew, publisher, name, tmp_path)
