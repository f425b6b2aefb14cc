"""S3-FIFO: what is asked for again stays, what is asked for once goes, and sizes add up whatever is done."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pullgate_proxy.cache.blobs.eviction import GHOSTS, S3Fifo

NAMES = st.sampled_from([f"blob-{number}" for number in range(12)])


def nobody(_: str) -> bool:
    return False


def filled(count: int, size: int = 10) -> S3Fifo:
    kept = S3Fifo()
    for number in range(count):
        kept.add(f"blob-{number}", size)
    return kept


def test_what_was_never_asked_for_again_goes_in_the_order_in_which_it_came() -> None:
    kept = filled(4)
    assert [kept.evict(nobody) for _ in range(5)] == ["blob-0", "blob-1", "blob-2", "blob-3", None]
    assert (kept.size, len(kept)) == (0, 0)


def test_what_was_asked_for_again_stays_when_many_come_once() -> None:
    kept = filled(3)
    for _ in range(2):
        kept.hit("blob-0")
    for number in range(100):
        kept.add(f"scan-{number}", 10)
        while kept.size > 50:
            kept.evict(nobody)
    assert "blob-0" in kept
    assert "blob-1" not in kept


def test_what_went_too_early_is_believed_when_it_comes_again() -> None:
    kept = filled(2)
    assert kept.evict(nobody) == "blob-0"
    kept.add("blob-0", 10)
    for number in range(20):
        kept.add(f"scan-{number}", 10)
        while kept.size > 50:
            kept.evict(nobody)
    assert "blob-0" in kept


def test_a_hit_of_the_main_queue_gives_one_more_round() -> None:
    kept = S3Fifo()
    for number in range(3):
        kept.add(f"blob-{number}", 10, known=True)
    kept.hit("blob-0")
    assert kept.evict(nobody) == "blob-1"
    assert kept.evict(nobody) == "blob-2"
    assert kept.evict(nobody) == "blob-0"


def test_what_is_pinned_is_passed_over_and_where_all_is_nothing_goes() -> None:
    kept = filled(3)
    assert kept.evict(lambda name: name != "blob-1") == "blob-1"
    assert kept.evict(lambda _: True) is None
    assert len(kept) == 2


def test_the_names_of_what_went_are_bounded() -> None:
    kept = S3Fifo()
    for number in range(GHOSTS * 3):
        kept.add(f"blob-{number}", 1)
        if kept.size > 4:
            kept.evict(nobody)
    assert len(kept._ghosts) <= GHOSTS


class Sizes(RuleBasedStateMachine):
    """Against a plain dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.kept, self.model = S3Fifo(), dict[str, int]()

    @rule(name=NAMES, size=st.integers(0, 100), known=st.booleans())
    def add(self, name: str, size: int, known: bool) -> None:
        self.kept.add(name, size, known=known)
        self.model[name] = size

    @rule(name=NAMES)
    def hit(self, name: str) -> None:
        self.kept.hit(name)

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        assert self.kept.remove(name) == self.model.pop(name, 0)

    @rule(pinned=st.sets(NAMES))
    def evict(self, pinned: set[str]) -> None:
        gone = self.kept.evict(lambda name: name in pinned)
        if gone is None:
            assert set(self.model) <= pinned
        else:
            assert gone not in pinned
            del self.model[gone]

    @invariant()
    def all_adds_up(self) -> None:
        assert self.kept.size == sum(self.model.values())
        assert len(self.kept) == len(self.model)
        assert all(name in self.kept for name in self.model)
        small = sum(entry.size for entry in self.kept._small.values())
        assert self.kept._small_size == small


TestSizes = Sizes.TestCase


@given(st.lists(NAMES, max_size=200))
def test_a_blob_is_held_once_however_often_it_comes(names: list[str]) -> None:
    kept = S3Fifo()
    for name in names:
        kept.add(name, 1)
    assert len(kept) == len(set(names)) == kept.size
