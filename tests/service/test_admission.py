import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.admission import FIRST_GUESS, AdmissionQueue


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def queue_of(clock: Clock, *, longest_wait: float = 0.01, answer_seconds: float = 0.001) -> AdmissionQueue[int]:
    queue: AdmissionQueue[int] = AdmissionQueue(longest_wait, clock=clock)
    for _ in range(500):
        queue.learn(answer_seconds)
    return queue


def test_work_is_served_in_the_order_it_came(clock: Clock) -> None:
    queue = queue_of(clock)
    assert all(queue.offer(work) for work in range(5))
    assert [queue.take() for _ in range(5)] == [(work, True) for work in range(5)]


def test_as_much_is_admitted_as_can_be_served_in_the_longest_wait(clock: Clock) -> None:
    queue = queue_of(clock, longest_wait=0.0105, answer_seconds=0.001)
    admitted = sum(queue.offer(work) for work in range(100))
    assert admitted == len(queue) == 11


def test_a_slower_model_makes_the_queue_shorter(clock: Clock) -> None:
    fast, slow = queue_of(clock, answer_seconds=0.0001), queue_of(clock, answer_seconds=0.005)
    assert sum(map(fast.offer, range(1000))) > 10 * sum(map(slow.offer, range(1000)))


def test_an_empty_queue_admits_even_what_takes_longer_than_the_longest_wait(clock: Clock) -> None:
    queue = queue_of(clock, longest_wait=0.001, answer_seconds=1.0)
    assert queue.offer(1)
    assert not queue.offer(2)


def test_work_whose_deadline_has_passed_is_handed_out_as_late(clock: Clock) -> None:
    queue = queue_of(clock, longest_wait=0.01)
    queue.offer(1)
    clock.now += 0.005
    queue.offer(2)
    clock.now += 0.0051
    assert queue.take() == (1, False)
    assert queue.take() == (2, True)


def test_nothing_can_be_taken_from_an_empty_queue(clock: Clock) -> None:
    with pytest.raises(IndexError):
        queue_of(clock).take()


def test_the_time_of_an_answer_is_learnt_from_the_latest_ones(clock: Clock) -> None:
    queue: AdmissionQueue[int] = AdmissionQueue(0.01, clock=clock)
    assert queue.answer_seconds == FIRST_GUESS
    for _ in range(200):
        queue.learn(0.004)
    assert queue.answer_seconds == pytest.approx(0.004, rel=0.001)
    queue.learn(1.0)
    assert queue.answer_seconds < 0.06


@given(st.lists(st.one_of(st.just(None), st.floats(0, 0.02)), max_size=60))
def test_whatever_happens_all_work_is_admitted_or_refused_and_handed_out_once(events: list[float | None]) -> None:
    clock = Clock()
    queue = queue_of(clock)
    offered, admitted, taken = 0, [], []
    for event in events:
        if event is None:
            if queue.offer(offered):
                admitted.append(offered)
            offered += 1
        else:
            clock.now += event
            if len(queue):
                taken.append(queue.take()[0])
    taken += [queue.take()[0] for _ in range(len(queue))]
    assert taken == admitted
