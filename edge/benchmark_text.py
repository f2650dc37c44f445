"""A benchmark's result as text for the terminal, and two results side by side."""

from collections.abc import Container, Iterator, Sequence
from datetime import datetime
from typing import Final

from edge.benchmark_result import Board, Loop, ModelTimes, Result, State, Sustained, Times

UNKNOWN: Final = "not known on this machine"
NONE: Final = "none"
NAMES: Final = {
    "clip": "a clip, as fast as it goes",
    "paced": "a clip at its own rate, as from a camera",
    "camera": "a camera",
}
# Differences below this share are what two runs of the same thing differ by.
NOISE: Final = 0.05


def report(result: Result) -> str:
    """The whole result as lines of text."""
    parts = [f"\nedge-pose {result.version} benchmark, {when(result)}"]
    if result.quick:
        parts.append("A quick run, to see that everything works: its figures mean nothing.")
    parts += ["", *_section("Board", board_rows(result.board))]
    parts += ["", "Models by themselves, milliseconds of one invocation", *table(MODEL_HEAD, model_rows(result))]
    for loop in result.loops:
        parts += ["", f"The loop on {NAMES[loop.name]}: {loop.source}, {loop.details}"]
        parts += table(STAGE_HEAD, stage_rows(loop))
        parts += _pairs(loop_rows(loop, result.broker))
    parts += ["", *_section("Sustained", sustained_rows(result.sustained))]
    parts += [f"\nWarning: {warning}" for warning in result.warnings]
    return "\n".join(parts) + "\n"


def when(result: Result) -> str:
    """The start of a run, in this machine's time zone."""
    return f"{datetime.fromtimestamp(result.time).astimezone():%Y-%m-%d %H:%M}"


def _section(title: str, rows: Sequence[tuple[str, str]]) -> list[str]:
    return [title, *_pairs(rows)]


def _pairs(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in rows)
    return [f"  {name:<{width}}  {value}" for name, value in rows]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they need to be; the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return [
        "  " + "  ".join(cell.ljust(width) if not i else cell.rjust(width) for i, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in (head, *rows))
    ]


def board_rows(board: Board) -> list[tuple[str, str]]:
    """Facts about the machine: what, and its value."""
    packages = ", ".join(f"{name} {version}" for name, version in board.packages.items())
    memory = UNKNOWN if board.memory_mb is None else f"{board.memory_mb:,.0f} MB"
    return [
        ("machine", board.model),
        ("processor", f"{board.processor}, {board.cores} cores for this program"),
        ("system", f"{board.system}, kernel {board.kernel} {board.machine}, {board.bits}-bit Python {board.python}"),
        ("runtime", f"{board.runtime}; {packages}"),
        ("governor", ", ".join(board.governors or [UNKNOWN])),
        ("memory", memory),
        ("before", state_text(board.before)),
        ("after", state_text(board.after)),
    ]


def state_text(state: State) -> str:
    """A board's state in one line."""
    temperature = "temperature " + (UNKNOWN if state.temperature_c is None else f"{state.temperature_c:.1f} °C")
    frequency = "" if state.frequency_mhz is None else f", {state.frequency_mhz:.0f} MHz"
    available = "" if state.available_mb is None else f", {state.available_mb:,.0f} MB free"
    return f"{temperature}{frequency}{available}, {throttle_text(state)}"


def throttle_text(state: State) -> str:
    """What holds or held the processor back."""
    if state.throttled is None:
        return f"throttling {UNKNOWN}"
    now = ", ".join(state.throttled) or "not throttled"
    earlier = f" (earlier: {', '.join(state.throttled_before)})" if state.throttled_before else ""
    return now + earlier


MODEL_HEAD: Final = ("model", "threads", "p50", "p95", "CPU")


def model_rows(result: Result) -> list[tuple[str, ...]]:
    """A row a model, precision and number of threads."""
    return [
        (model_name(m), str(m.threads), f"{m.invoke_ms.p50:.2f}", f"{m.invoke_ms.p95:.2f}", f"{m.cpu_ms:.2f}")
        for m in result.models
    ]


def model_name(model: ModelTimes) -> str:
    """A model as users name it: `detector`, `lite`, `full`, `heavy`, and its number format."""
    return f"{model.name.removeprefix('pose_').removeprefix('landmark_')} {model.precision}"


STAGE_HEAD: Final = ("stage, milliseconds", "times", "p50", "p95", "p99")


def stage_rows(loop: Loop) -> list[tuple[str, ...]]:
    """A row a stage."""
    return [(stage, str(t.count), *(f"{ms:.2f}" for ms in (t.p50, t.p95, t.p99))) for stage, t in loop.stage_ms.items()]


def loop_rows(loop: Loop, broker: str) -> list[tuple[str, str]]:
    """What the loop did from end to end."""
    without = loop.without_detection
    rows = [
        ("models", f"{loop.models}, {loop.threads} {'thread' if loop.threads == 1 else 'threads'}"),
        ("frames", f"{loop.frames}, {loop.with_people} with people, {loop.dropped} dropped"),
        ("frames per second", f"{loop.fps:.1f}"),
        ("CPU per frame", f"{loop.cpu_ms_per_frame:.2f} ms, {loop.thread_cpu_ms_per_frame:.2f} in the loop's thread"),
        ("without detection", "nobody seen" if without is None else f"{without:.1%} of the frames with people"),
        ("quality", _quality_text(loop)),
        ("age when taken", _times_text(loop.age_ms)),
        ("capture to message", _times_text(loop.latency_ms)),
        ("capture to subscriber", _times_text(loop.arrival_ms)),
        ("messages", f"{loop.arrived} arrived of {loop.published}, over {broker}"),
        ("peak memory", UNKNOWN if loop.peak_rss_mb is None else f"{loop.peak_rss_mb:.0f} MB"),
        ("start to first pose", "nobody seen" if loop.first_pose_s is None else f"{loop.first_pose_s:.2f} s"),
    ]
    return [(name, value) for name, value in rows if value]


def _quality_text(loop: Loop) -> str:
    jitter = "" if loop.jitter is None else f"keypoints tremble by {loop.jitter:.4f} torso"
    lag = "" if loop.lag_ms is None else f"smoothing makes them {loop.lag_ms:.1f} ms late"
    return ", ".join(filter(None, (jitter, lag)))


def _times_text(times: Times | None) -> str:
    return "" if times is None else f"p50 {times.p50:.1f}, p95 {times.p95:.1f}, p99 {times.p99:.1f} ms"


def sustained_rows(run: Sustained) -> list[tuple[str, str]]:
    """What happened over time."""
    rates = [moment.fps for moment in run.moments]
    warmth = [moment.temperature_c for moment in run.moments if moment.temperature_c is not None]
    held = UNKNOWN if run.throttled is None else ", ".join(run.throttled) or "no"
    return [
        ("duration", f"{run.duration_s:.0f} s"),
        ("frames per second", f"{min(rates):.1f} to {max(rates):.1f}" if rates else "too short to tell"),
        ("slower at the end", f"{run.slowdown:.1%}"),
        ("temperature", f"{min(warmth):.1f} to {max(warmth):.1f} °C" if warmth else UNKNOWN),
        ("throttled", held),
        ("memory growth", UNKNOWN if run.rss_growth_mb is None else f"{run.rss_growth_mb:+.1f} MB"),
    ]


COMPARISON_HEAD: Final = ("figure", "other", "this", "this / other")
Row = tuple[str, float, float]


def comparison(other: Result, this: Result) -> str:
    """Two results side by side, as far as they have the same figures."""
    lines = [
        f"Compared with edge-pose {other.version} on {other.board.model}, {when(other)}",
        *(f"  Note: {note}" for note in differences(other, this)),
        *table(COMPARISON_HEAD, [comparison_row(row) for row in compared(other, this)]),
    ]
    return "\n".join(lines) + "\n"


def comparison_row(row: Row) -> tuple[str, str, str, str]:
    """A row of the comparison as text; a ratio within the noise is marked."""
    name, old, new = row
    ratio = "" if not old else f"{new / old:.2f}{' ~' if abs(new / old - 1) < NOISE else '  '}"
    return name, f"{old:.2f}", f"{new:.2f}", ratio


def differences(other: Result, this: Result) -> list[str]:
    """What differs besides the code, so that nobody takes one for the other."""
    # A loop that only one of them ran has no figures to compare.
    loops = {loop.name for loop in other.loops} & {loop.name for loop in this.loops}
    old, new = _facts(other, loops), _facts(this, loops)
    found = [
        f"{name}: {old.get(name, NONE)} there, {new.get(name, NONE)} here"
        for name in old | new
        if old.get(name) != new.get(name)
    ]
    return found + ["one of the two is a quick run: its figures mean nothing"] * (other.quick or this.quick)


def _facts(result: Result, loops: Container[str]) -> dict[str, str]:
    """What figures depend on besides the code, by its name."""
    board = result.board
    return {
        "machine": board.model,
        "processor": f"{board.processor}, {board.cores} cores",
        "system": board.system,
        "Python": f"{board.bits}-bit {board.python}",
        "runtime": board.runtime,
        **board.packages,
        "governor": ", ".join(board.governors or [NONE]),
        "broker": result.broker,
        **{f"{loop.name} source": f"{loop.source}, {loop.details}" for loop in result.loops if loop.name in loops},
    }


def compared(other: Result, this: Result) -> list[Row]:
    """The figures that both have: name, the other's value, this one's."""
    old, new = dict(_figures(other)), dict(_figures(this))
    return [(name, old[name], value) for name, value in new.items() if name in old]


def _figures(result: Result) -> Iterator[tuple[str, float]]:
    yield from map(_model_figure, result.models)
    for loop in result.loops:
        name = f"{loop.name} {loop.models} {loop.threads} thr."
        yield f"{name}: frames per second", loop.fps
        yield f"{name}: CPU per frame, ms", loop.cpu_ms_per_frame
        yield from ((f"{name}: {stage} p50, ms", times.p50) for stage, times in loop.stage_ms.items())
        for what, times in (("message", loop.latency_ms), ("subscriber", loop.arrival_ms)):
            if times:
                yield f"{name}: capture to {what} p50, ms", times.p50
                yield f"{name}: capture to {what} p99, ms", times.p99
        if loop.peak_rss_mb is not None:
            yield f"{name}: peak memory, MB", loop.peak_rss_mb
        if loop.first_pose_s is not None:
            yield f"{name}: start to first pose, s", loop.first_pose_s


def _model_figure(model: ModelTimes) -> tuple[str, float]:
    return f"{model_name(model)} {model.threads} thr.: p50, ms", model.invoke_ms.p50
