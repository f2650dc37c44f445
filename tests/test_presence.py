"""Presence: what is an event and what is a flicker."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge.presence import Presence, PresenceChange

NOTHING = PresenceChange()


def events(
    presence: Presence, people: list[int], step_s: float = 0.1, start_s: float = 0.0
) -> list[tuple[float, bool | None, int | None]]:
    """The changes, as (second, present, count), of one count of people a frame."""
    changes = []
    for number, count in enumerate(people):
        time_s = round(start_s + number * step_s, 6)
        change = presence.update(count, time_s)
        if change != NOTHING:
            changes.append((time_s, change.present, change.count))
    return changes


def test_somebody_is_present_after_the_first_time_and_gone_after_the_second() -> None:
    seen = events(Presence(0.5, 2.0), [0] * 25 + [1] * 30 + [0] * 30)
    assert seen == [(2.0, False, 0), (3.0, True, 1), (7.5, False, 0)]


def test_a_flicker_is_no_event() -> None:
    presence = Presence(0.5, 2.0)
    events(presence, [1] * 10)
    assert events(presence, [0] * 19 + [1] + [0] * 19 + [1] * 5, start_s=1.0) == []
    presence.none()
    assert events(presence, [1] * 4 + [0] + [1] * 4 + [0] * 5, start_s=10.0) == []


def test_nothing_is_said_before_it_is_known() -> None:
    assert events(Presence(0.5, 2.0), [1, 0] * 50) == []
    assert events(Presence(0.5, 2.0), [1] * 6) == [(0.5, True, 1)]


def test_the_count_is_held_person_by_person() -> None:
    seen = events(Presence(0.5, 2.0), [1] * 10 + [2] * 10 + [1, 2] * 10 + [1] * 25)
    assert seen == [(0.5, True, 1), (1.5, None, 2), (6.0, None, 1)]


def test_with_no_times_every_frame_counts() -> None:
    assert events(Presence(0, 0), [0, 1, 3, 0], 1) == [(0, False, 0), (1, True, 1), (2, None, 3), (3, False, 0)]


def test_switching_off_clears_at_once() -> None:
    presence = Presence(0.5, 2.0)
    events(presence, [2] * 10)
    assert presence.none() == PresenceChange(False, 0)
    assert presence.none() == NOTHING


@given(st.lists(st.integers(0, 4), max_size=60), st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([0.0, 0.5, 2.0]))
def test_changes_alternate_and_are_never_closer_than_the_times_allow(
    people: list[int], on_s: float, off_s: float
) -> None:
    seen = [(time_s, present) for time_s, present, _ in events(Presence(on_s, off_s), people) if present is not None]
    for (before_s, before), (after_s, after) in pairwise(seen):
        assert before != after
        assert after_s - before_s >= (on_s if after else off_s) - 1e-9
