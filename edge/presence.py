"""Who counts as present: the number of people in view, steadied, so that a flicker is not an event."""

from dataclasses import dataclass


@dataclass(slots=True)
class _Level:
    """Whether at least k people are in view, steadied; None until it is known."""

    steady: bool | None = None
    candidate: bool | None = None
    since_s: float = 0.0

    def update(self, there: bool, time_s: float, hold_s: float) -> None:
        """See something else than the steady answer for `hold_s` without a break, and it becomes the steady one."""
        if there == self.steady:
            self.candidate = None
            return
        if there != self.candidate:
            self.candidate, self.since_s = there, time_s
        if time_s - self.since_s >= hold_s:
            self.steady, self.candidate = there, None


@dataclass(frozen=True, slots=True)
class PresenceChange:
    """What changed at one moment; None is no change.

    Attributes:
        present: whether anybody is in view now.
        count: how many people are in view now.
    """

    present: bool | None = None
    count: int | None = None


class Presence:
    """Steadies the count of people: it rises after `on_s` seconds of more people, and falls after `off_s` of fewer.

    Each "at least k people" is held by itself, so two people of whom one flickers stay two. Nothing is said until the
    first answer is known, so that a restart with somebody in view does not publish OFF.

    Args:
        on_s: seconds that somebody must be in view without a gap.
        off_s: seconds that nobody must be in view without a break.
    """

    def __init__(self, on_s: float, off_s: float) -> None:
        self._on_s = on_s
        self._off_s = off_s
        self._levels = [_Level()]
        self._count: int | None = None

    def update(self, people: int, time_s: float) -> PresenceChange:
        """Count one frame's people.

        Args:
            people: in the frame.
            time_s: its capture time, on any clock that does not jump.

        Returns:
            What to publish now; the time of the change is this frame's.
        """
        while len(self._levels) < people:
            # A level nobody reached until now was false all the time; the first waits for its first answer.
            self._levels.append(_Level(steady=False))
        for number, level in enumerate(self._levels, start=1):
            there = people >= number
            level.update(there, time_s, self._on_s if there else self._off_s)
        return self._change()

    def none(self) -> PresenceChange:
        """Nobody is looked for any more (the device is switched off by a command): at once, nobody is present."""
        for level in self._levels:
            level.steady, level.candidate = False, None
        return self._change()

    def _change(self) -> PresenceChange:
        if self._levels[0].steady is None:
            return PresenceChange()
        count = sum(bool(level.steady) for level in self._levels)
        before, self._count = self._count, count
        present = count > 0
        return PresenceChange(
            present if before is None or (before > 0) != present else None,
            count if before != count else None,
        )
