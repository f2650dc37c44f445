"""The command `benchmark`: how fast this machine is, measured section by section, and reported."""

import logging
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge import sample
from edge.benchmark_board import Machine, usable_cores, warnings
from edge.benchmark_broker import benchmark_broker
from edge.benchmark_html import page
from edge.benchmark_loop import Loops
from edge.benchmark_models import MAX_THREADS, Effort, measure_models, wanted_entries
from edge.benchmark_result import Loop, ModelTimes, Result, document, read
from edge.benchmark_text import comparison, report
from edge.camera_list import list_cameras
from edge.config import ModelSettings, Settings
from edge.edgetpu import is_edgetpu
from edge.errors import EdgePoseError, UsageError
from edge.manifest import ModelStore
from edge.output import check_file, write_file
from edge.runtime import Runtime, chosen_precision, load_runtime
from edge.streams import complain, is_utf8

CAMERA_S: Final = 10.0
QUICK_FRAMES: Final = 45
QUICK_S: Final = 1.5


@dataclass(frozen=True, slots=True)
class BenchmarkOptions:
    """What the command line says beside the settings.

    Attributes:
        source: a clip or a camera; None is the sample clip, and the first camera that is found.
        broker: a broker of the user's; None starts one.
        model: the landmark model that was named; None measures all of them by themselves, and the loop with the
            default one.
        frames: of the clip.
        sustained_s: length of the sustained run.
        json_file, html_file: where to write; None is nowhere.
        compare: an earlier result to compare with.
        quick: try everything, measure nothing properly.
    """

    source: str | None = None
    broker: str | None = None
    model: str | None = None
    frames: int = 300
    sustained_s: float = 60.0
    json_file: Path | None = None
    html_file: Path | None = None
    compare: Path | None = None
    quick: bool = False


def benchmark(settings: Settings, options: BenchmarkOptions) -> int:
    """Measure, and print the report.

    Returns:
        Exit status: 0, or 1 where a file could not be written.

    Raises:
        EdgePoseError: a wrong file, found before anything is measured; a source, a model or the broker fails.
    """
    # The report is what is asked for; the log of a quiet connection would only be in its way.
    logging.getLogger("edge").setLevel(logging.WARNING)
    other = read(options.compare) if options.compare else None
    for option, path in (("--json", options.json_file), ("--html", options.html_file)):
        if path:
            check_file(path, option)
    if options.source and not is_utf8(options.source):
        raise UsageError(f"--source {options.source}: expected a name in UTF-8, which the figures can hold")
    progress = Progress()
    try:
        result = _measure(settings, options, progress.say)
    finally:
        progress.clear()
    print(report(result))
    if other:
        print(comparison(other, result))
    written = [
        _written("Figures", options.json_file, lambda: document(result)),
        _written("Page", options.html_file, lambda: page(result, other).encode()),
    ]
    return 0 if all(written) else 1


def _written(what: str, path: Path | None, content: Callable[[], bytes]) -> bool:
    """Write one file; its failure must not cost the other what was measured for minutes."""
    if path is None:
        return True
    try:
        write_file(path, content())
    except EdgePoseError as error:
        complain(str(error))
        return False
    print(f"{what}: {path}")
    return True


class Progress:
    """One line on standard error that says what is being measured; a line each where that is no terminal."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._section = ""

    def say(self, text: str) -> None:
        """Show what is being done."""
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r\x1b[K{text[:width]}")
            sys.stderr.flush()
        elif (section := text.partition(":")[0]) != self._section:
            self._section = section
            print(f"measuring {section} ...", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Leave an empty line to what follows."""
        if self._terminal:
            sys.stderr.write("\r\x1b[K")


def _measure(settings: Settings, options: BenchmarkOptions, say: Callable[[str], None]) -> Result:
    started_s = time.time()
    machine = Machine()
    before = machine.state()
    runtime = load_runtime(settings.model.runtime)
    store = ModelStore(Path(settings.model.directory) if settings.model.directory else None)
    _check_there(settings.model, store, runtime)
    models = _bare(store, settings, options, runtime, say)
    with benchmark_broker(settings.mqtt, options.broker) as (mqtt, broker):
        loops = Loops(settings, mqtt, _described(settings.model, store, runtime), say)
        clip = _clip(options, say)
        notes: list[str] = []
        measured = _loops(loops, clip, options, notes)
        seconds = QUICK_S if options.quick else options.sustained_s
        sustained = loops.sustain(clip, seconds, machine)
    board = machine.board(f"{runtime.name} {runtime.version}", before, machine.state())
    return Result(
        time=started_s,
        quick=options.quick,
        broker=broker,
        board=board,
        models=models,
        loops=measured,
        sustained=sustained,
        warnings=[*notes, *warnings(board, sustained)],
    )


def _bare(
    store: ModelStore, settings: Settings, options: BenchmarkOptions, runtime: Runtime, say: Callable[[str], None]
) -> list[ModelTimes]:
    entries = wanted_entries(store, settings, every_landmark_model=options.model is None)
    # More threads than cores only wait for each other.
    threads = range(1, min(MAX_THREADS, usable_cores()) + 1)
    effort = Effort(list(threads)[:2], seconds=0.0, invocations=3) if options.quick else Effort(threads)
    return list(measure_models(store, entries, runtime, effort, lambda text: say(f"models by themselves: {text}")))


def _check_there(wanted: ModelSettings, store: ModelStore, runtime: Runtime) -> None:
    """Find out now, not after the others were measured, that the loop's landmark model is not here."""
    if not is_edgetpu(wanted.device):
        precision = chosen_precision(store, "landmarks", wanted.model, wanted, runtime)
        store.read(store.find("landmarks", wanted.model, precision))


def _described(wanted: ModelSettings, store: ModelStore, runtime: Runtime) -> str:
    return f"{wanted.model} {chosen_precision(store, 'landmarks', wanted.model, wanted, runtime)}"


def is_live(source: str) -> bool:
    """Whether a source is a camera or a stream, which cannot be read as fast as it goes."""
    return source.isdecimal() or source.startswith(("picamera2", "/dev/")) or "://" in source


def _clip(options: BenchmarkOptions, say: Callable[[str], None]) -> str:
    if options.source is None or options.source == "sample" or is_live(options.source):
        sample.clip_path(say)
        return "sample"
    return options.source


def _camera(options: BenchmarkOptions) -> str | None:
    if options.source is not None:
        return options.source if is_live(options.source) else None
    return next((camera.source for camera in list_cameras() if not camera.problem), None)


def _loops(loops: Loops, clip: str, options: BenchmarkOptions, notes: list[str]) -> list[Loop]:
    frames = min(options.frames, QUICK_FRAMES) if options.quick else options.frames
    measured = [
        loops.measure("clip", clip, frames=frames),
        loops.measure("paced", clip, frames=frames),
    ]
    camera = _camera(options)
    if camera is None:
        return measured
    try:
        measured.append(loops.measure("camera", camera, seconds=QUICK_S if options.quick else CAMERA_S))
    except EdgePoseError as error:
        if options.source is not None:
            raise
        # Nobody asked for this camera by name, so it does not end the benchmark; but it is said.
        notes.append(f"The camera {camera} is left out: {error}")
    return measured
