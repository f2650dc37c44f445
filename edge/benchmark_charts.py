"""Charts as SVG text: bars with a whisker, and a line over time. Colours come from the page's style sheet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

# A chart is laid out in these units and scaled to its column: about a pixel each on a telephone, so text stays legible.
WIDTH: Final = 340
LABEL_WIDTH: Final = 78
VALUE_WIDTH: Final = 62
ROW_HEIGHT: Final = 22
HEAD_HEIGHT: Final = 26
PLOT_HEIGHT: Final = 150
LEFT: Final = 40
RIGHT: Final = 20
TOP: Final = 24
BOTTOM: Final = 24


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar: a length with its label, and how far its whisker reaches; a bar without a value is a heading."""

    label: str
    value: float | None = None
    reach: float | None = None


def bars(title: str, unit: str, rows: Sequence[Bar]) -> str:
    """Horizontal bars on a common scale from 0, the value written behind each.

    Args:
        title: what the chart shows, for those who cannot see it.
        unit: of the values.
        rows: from top to bottom.
    """
    longest = max((max(row.value, row.reach or 0) for row in rows if row.value is not None), default=0) or 1
    scale = (WIDTH - LABEL_WIDTH - VALUE_WIDTH) / longest
    parts, y = [], 0
    for row in rows:
        if row.value is None:
            parts.append(_text(0, y + 18, row.label, "head"))
            y += HEAD_HEIGHT
            continue
        parts.append(_bar(row, row.value, y, scale, unit))
        y += ROW_HEIGHT
    return _svg(title, y + 4, parts)


def _bar(row: Bar, value: float, y: int, scale: float, unit: str) -> str:
    length = max(value * scale, 1.0)
    end = LABEL_WIDTH + max(value, row.reach or 0) * scale
    parts = [
        _text(LABEL_WIDTH - 6, y + 15, row.label, "label"),
        f'<rect class="bar" x="{LABEL_WIDTH}" y="{y + 3}" width="{length:.1f}" height="{ROW_HEIGHT - 6}" rx="2"/>',
    ]
    if row.reach is not None and row.reach > value:
        middle = y + ROW_HEIGHT / 2
        parts.append(f'<path class="whisker" d="M{LABEL_WIDTH + length:.1f} {middle}H{end:.1f}m0 -4v8"/>')
    parts.append(_text(end + 5, y + 15, f"{number(value)} {unit}", "value"))
    return "".join(parts)


def line(title: str, unit: str, points: Sequence[tuple[float, float]], *, from_zero: bool) -> str:
    """A line over time.

    Args:
        title: what the chart shows, for those who cannot see it.
        unit: of the vertical axis.
        points: seconds, value; in order.
        from_zero: whether the vertical axis starts at 0; otherwise a little below the least value.
    """
    times, values = [time for time, _ in points], [value for _, value in points]
    low, high = (0.0 if from_zero else math.floor(min(values) - 1)), max(values) * (1.1 if from_zero else 1.0)
    ticks = nice_ticks(low, max(high, low + 1))
    low, high, last = ticks[0], ticks[-1], max(*times, 1.0)
    x_scale, y_scale = (WIDTH - LEFT - RIGHT) / last, PLOT_HEIGHT / (high - low)

    def place(time: float, value: float) -> tuple[float, float]:
        return LEFT + time * x_scale, TOP + PLOT_HEIGHT - (value - low) * y_scale

    parts = []
    for tick in ticks:
        y = place(0, tick)[1]
        parts += [
            f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>',
            _text(LEFT - 6, y + 4, number(tick), "label"),
        ]
    for tick in nice_ticks(0, last):
        if tick <= last:
            parts.append(_text(place(tick, low)[0], TOP + PLOT_HEIGHT + 17, f"{number(tick)} s", "tick"))
    shown = [place(time, value) for time, value in points]
    parts.append(f'<polyline class="line" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in shown)}"/>')
    parts += [f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="2.2"/>' for x, y in shown]
    parts.append(_text(LEFT, TOP - 10, unit, "unit"))
    return _svg(title, TOP + PLOT_HEIGHT + BOTTOM, parts)


def nice_ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers from at or below `low` to at or above `high`."""
    rough = (high - low) / 4
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = magnitude * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * index for index in range(first, last + 1)]


def number(value: float) -> str:
    """A number with about three digits that mean something."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img"><title>{escape(title)}</title>{"".join(parts)}</svg>'
