"""The processes that are compared, and what they need: environments, models, clips, a broker."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self

from edge.benchmark_broker import benchmark_broker
from edge.config import MqttSettings
from edge.manifest import ModelStore
from edge.sample import clip_path
from models.build import clips, upstream
from tests.golden.make_golden import OPENCV, environment_python, golden_python, landmark_model

HERE = Path(__file__).resolve().parent
# MediaPipe's own requirements, with OpenCV's headless wheel in place of the one that wants a display.
TASKS_VERSION, LEGACY_VERSION = "1.2.2", "0.10.21"
TASKS_REQUIREMENTS = (
    "numpy==2.4.6",
    "flatbuffers==25.12.19",
    "absl-py==2.5.1",
    "matplotlib==3.11.2",
    "certifi",
    "sounddevice==0.5.6",
    OPENCV,
)


def tasks_python() -> Path:
    """The Python of the environment that has MediaPipe 1.2.2; makes the environment at the first call."""
    wheel = f"mediapipe=={TASKS_VERSION}"
    return environment_python(f"mediapipe-{TASKS_VERSION}-venv", TASKS_REQUIREMENTS, [wheel])


def detector_model() -> Path:
    """The upstream detector as a file in the build's cache."""
    path = upstream.cache_dir() / "pose_detection.tflite"
    path.write_bytes(upstream.upstream_bytes(upstream.UPSTREAM["detector"]))
    return path


def clip_file(name: str) -> Path:
    """`sample`: two people outdoors, 1768x994; `walk`: one person indoors, from pose2sim's demonstration."""
    if name == "sample":
        return clip_path()
    return clips.extracted(clips.POSE2SIM, "Pose2Sim/Demo_SinglePerson/videos/cam01.mp4")


def empty_picture() -> Path:
    """A house and a garden, nobody in it: of OpenCV's documentation."""
    return clips.extracted(clips.OPENCV_DOC, "usr/share/doc/opencv-doc/examples/data/home.jpg")


@dataclass(slots=True)
class Contestant:
    """A process to start. `name` is what it is called in tables; `command` follows it with a clip and a time."""

    name: str
    command: Sequence[str]
    _process: "subprocess.Popen[str] | None" = field(default=None, init=False)
    first_pose_s: float = field(default=float("nan"), init=False)

    def start(self, clip: Path) -> Self:
        """Start it on a clip, and wait for its first pose."""
        python, script, *rest = self.command
        environment = dict(os.environ, PYTHONPATH=f"{HERE}:{HERE.parent.parent}", GLOG_minloglevel="3")
        self._process = subprocess.Popen(
            (python, script, str(clip), repr(time.time()), *rest),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.first_pose_s = self._read()["first_pose_s"]
        return self

    def ask(self, what: str, count: int, **more: str) -> dict[str, Any]:
        """See `worker`."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({what: count, **more}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} has died; run it by itself to see why: {' '.join(self.command)}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.communicate()
            self._process = None


def ours(variant: str, precision: str, broker: str, threads: int = 1) -> Contestant:
    """edge-pose's loop."""
    command = (sys.executable, str(HERE / "ours.py"), variant, precision, str(threads), broker)
    return Contestant(f"edge-pose {variant} {precision}", command)


def mediapipes(variant: str) -> list[Contestant]:
    """MediaPipe's two, with their models where they look for them."""
    models = (variant, str(landmark_model(variant)), str(detector_model()))
    tasks = (str(tasks_python()), str(HERE / "mediapipe_tasks.py"))
    legacy = (str(golden_python()), str(HERE / "mediapipe_legacy.py"))
    for command in (tasks, legacy):
        subprocess.run((*command, "bundle", "0", *models), check=True, capture_output=True)
    return [
        Contestant(f"MediaPipe {TASKS_VERSION} {variant}", (*tasks, *models)),
        Contestant(f"MediaPipe {LEGACY_VERSION} {variant}", (*legacy, *models)),
    ]


def precisions(variant: str) -> list[str]:
    """Number formats of a model that the CPU is meant to run; int8-full is for the Edge TPU."""
    store = ModelStore()
    return [
        entry.precision
        for entry in store.manifest.models
        if entry.variant == variant and entry.precision != "int8-full" and store.path(entry).is_file()
    ]


@contextmanager
def broker() -> Iterator[str]:
    """A broker's URL."""
    with benchmark_broker(MqttSettings(), None) as (settings, _):
        yield settings.broker


@contextmanager
def running(contestants: Sequence[Contestant], clip: Path) -> Iterator[None]:
    """All of them at once, each waiting until it is asked."""
    with ExitStack() as stack:
        for contestant in contestants:
            contestant.start(clip)
            stack.callback(contestant.stop)
        yield


def cpu_rounds(contestants: Sequence[Contestant], rounds: int, frames: int) -> dict[str, list[float]]:
    """Processor milliseconds per frame of each, round by round, taking turns; `NAME, bare` is our model by itself.

    The first round, in which people are detected and caches fill, is not counted. Frames in which somebody was lost
    mean other work than following; they are reported.
    """
    found: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        # Each goes first in turn: whoever follows a pause meets a colder machine.
        turn = number % len(contestants)
        for contestant in (*contestants[turn:], *contestants[:turn]):
            answers = {contestant.name: contestant.ask("block", frames)}
            if contestant.name.startswith("edge-pose"):
                answers[f"{contestant.name}, bare"] = contestant.ask("bare", frames)
            if answers[contestant.name]["found"] < frames and number:
                print(f"{contestant.name}: somebody in {answers[contestant.name]['found']} of {frames} frames")
            if number:
                for name, answer in answers.items():
                    found.setdefault(name, []).append(answer["cpu_s"] * 1e3 / frames)
    return found


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """The median of the ratios of the same round: what slows the machine down slows both."""
    return median(a / b for a, b in zip(numerator, denominator, strict=True))


def reference_path(processor: str, machine: str, prefix: str = "") -> Path:
    """The file of figures of machines of this kind."""
    slug = re.sub(r"[^a-z0-9]+", "-", f"{processor} {machine}".lower()).strip("-")
    return HERE / "reference" / f"{prefix}{slug}.json"
