"""The command `benchmark`: one quick run of everything, and what is made of its figures."""

import html.parser
import json
import subprocess
import sys
from pathlib import Path

import cv2
import jsonschema
import msgspec
import numpy as np
import pytest
from camera_servers import NetworkCamera
from conftest import settings
from shell import in_bash, said_by

from edge import benchmark_broker
from edge.benchmark_broker import benchmark_broker as open_broker
from edge.benchmark_child import Job, Progress
from edge.benchmark_html import page
from edge.benchmark_loop import Loops, Watch, run_child
from edge.benchmark_result import Moment, Result, State, Times, read
from edge.benchmark_text import compared, comparison, differences, report
from edge.errors import SourceNotFoundError, UsageError
from edge.mqtt_once import check_broker
from edge.pipeline import WINDOW_FRAMES

DOCS = Path(__file__).resolve().parents[1] / "docs"


def command(*arguments: object, **more) -> "subprocess.CompletedProcess[str]":
    line = (sys.executable, "-m", "edge", "benchmark", *map(str, arguments))
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=120, **more)


@pytest.fixture(scope="module")
def done(clip, tmp_path_factory):
    """A quick run: the process, and the files that it wrote."""
    folder = tmp_path_factory.mktemp("benchmark")
    options = ("--quick", "--source", clip, "--model", "lite", "--json", folder / "figures.json")
    return command(*options, "--html", folder / "page.html"), folder


@pytest.fixture(scope="module")
def result(done) -> Result:
    return read(done[1] / "figures.json")


def test_the_command_ends_well_and_prints_every_section(done):
    process, _ = done
    assert process.returncode == 0, process.stderr
    for section in ("Board", "Models by themselves", "The loop on a clip, as fast", "at its own rate", "Sustained"):
        assert section in process.stdout
    assert "measuring sustained" in process.stderr


def test_figures_follow_the_published_schema(done):
    document = json.loads((done[1] / "figures.json").read_text())
    jsonschema.validate(document, json.loads((DOCS / "benchmark-result.schema.json").read_text()))
    assert document["benchmark"] == "edge-pose"
    assert document["quick"] is True


def test_the_models_are_measured_with_one_thread_and_more(result):
    measured = {(model.name, model.threads) for model in result.models}
    assert {("pose_detector", 1), ("pose_landmark_lite", 1)} <= measured
    assert all(0 < model.invoke_ms.p50 <= model.invoke_ms.p95 for model in result.models)
    assert all(model.cpu_ms > 0 for model in result.models)


def test_every_stage_of_the_loop_is_measured(result):
    clip, paced = result.loops
    stages = {"capture", "detect", "warp", "landmarks", "smooth", "encode", "publish"}
    assert stages <= set(clip.stage_ms)
    assert "capture" not in paced.stage_ms
    assert clip.stage_ms["landmarks"].count >= clip.with_people


def test_the_loop_is_measured_from_end_to_end(result):
    for loop in result.loops:
        assert loop.frames == 45
        assert 0 < loop.with_people <= 45
        assert 0 <= loop.without_detection <= 1
        # At a live source whoever a slow search finds is told of with the next frame.
        searched = 0 if loop.name == "clip" else round(loop.with_people * (1 - loop.without_detection))
        assert loop.published == loop.arrived >= loop.with_people - searched
        assert loop.arrived > 0
        assert 0 < loop.jitter < 0.5
        assert 0 < loop.thread_cpu_ms_per_frame <= loop.cpu_ms_per_frame
        assert 40 < loop.peak_rss_mb < 1000
        assert 0.1 < loop.first_pose_s < 60


def test_a_paced_clip_has_a_clock_and_a_subscriber_hears_later_than_the_message_is_made(result):
    clip, paced = result.loops
    assert clip.arrival_ms is None
    assert clip.age_ms is None
    assert paced.age_ms.count == 45
    assert paced.fps < 35
    # Messages carry their times to the millisecond.
    assert paced.arrival_ms.p50 > paced.latency_ms.p50 - 1
    assert paced.arrival_ms.p50 < 5000


def test_the_page_needs_nothing_else_and_is_well_formed(done):
    text = (done[1] / "page.html").read_text()
    checker = Balanced()
    checker.feed(text)
    assert checker.open == []
    assert checker.count["svg"] >= 4
    assert not {"script", "img", "link", "iframe"} & set(checker.count)
    assert "http" not in text


class Balanced(html.parser.HTMLParser):
    """Follows which elements are open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.count: dict[str, int] = {}

    def handle_starttag(self, tag, attrs):  # noqa: ARG002 -- html.parser's own signature
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):  # noqa: ARG002 -- as above
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_what_a_machine_is_called_cannot_break_the_page(result):
    board = msgspec.structs.replace(result.board, model="<script>Board & Co")
    text = page(msgspec.structs.replace(result, board=board))
    assert "<script>" not in text
    assert "&lt;script&gt;Board &amp; Co" in text


def test_a_run_compared_with_itself_is_the_same(result):
    rows = compared(result, result)
    assert len(rows) > 15
    assert all(old == new for _, old, new in rows)
    assert differences(result, result) == ["one of the two is a quick run: its figures mean nothing"]


def test_a_comparison_says_what_changed_and_what_else_differs(result):
    board = msgspec.structs.replace(result.board, model="Raspberry Pi 5 Model B Rev 1.0")
    faster = msgspec.structs.replace(result.loops[0], fps=result.loops[0].fps * 2)
    other = msgspec.structs.replace(result, board=board, loops=[faster], quick=False)
    text = comparison(other, result)
    assert "machine: Raspberry Pi 5 Model B Rev 1.0 there" in text
    (line,) = [line for line in text.splitlines() if "frames per second" in line]
    assert line.split()[-1] == "0.50"
    assert "paced" not in text  # the other has no such run
    assert "Compared with an earlier run" in page(result, other)


def test_a_comparison_names_everything_that_figures_depend_on(result):
    packages = {name: version for name, version in result.board.packages.items() if name != "numpy"}
    board = msgspec.structs.replace(
        result.board, processor="Cortex-A76", cores=99, python="3.9.2", packages={**packages, "msgspec": "0.1"}
    )
    clip, paced = result.loops
    other = msgspec.structs.replace(
        result,
        board=board,
        loops=[
            msgspec.structs.replace(clip, source="other.mp4"),
            msgspec.structs.replace(paced, details="640x480"),
            msgspec.structs.replace(paced, name="camera", source="0"),
        ],
        quick=False,
    )
    here, size = result.board, f"{clip.source}, {clip.details}"
    assert differences(other, msgspec.structs.replace(result, quick=False)) == [
        f"processor: Cortex-A76, 99 cores there, {here.processor}, {here.cores} cores here",
        f"Python: {here.bits}-bit 3.9.2 there, {here.bits}-bit {here.python} here",
        f"msgspec: 0.1 there, {here.packages['msgspec']} here",
        f"clip source: other.mp4, {clip.details} there, {size} here",
        f"paced source: {paced.source}, 640x480 there, {size} here",
        f"numpy: none there, {here.packages['numpy']} here",
    ]


def test_warnings_reach_the_terminal_and_the_page(result):
    warned = msgspec.structs.replace(result, warnings=["The board is too hot."])
    assert "Warning: The board is too hot." in report(warned)
    assert 'class="warning">The board is too hot.' in page(warned)


def test_a_wrong_file_to_compare_with_is_refused_before_anything_is_measured(tmp_path):
    path = tmp_path / "other.json"
    path.write_text("hello")
    process = command("--compare", path)
    assert process.returncode == 2
    assert str(path) in process.stderr
    assert "measuring" not in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "No such file"),
        (b"hello", "not a result of `edge-pose benchmark --json`"),
        (b"\xff\xfe", "not a result"),
        (b"[" * 100_000, "not a result"),
        (b"{}", "missing required field"),
        (b'{"benchmark": "other"}', "benchmark"),
        (b'{"benchmark": "edge-pose", "schema": 2}', "schema"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, content, what):
    path = tmp_path / "other.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=what) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_outputs_that_cannot_be_written_are_refused_before_anything_is_measured(tmp_path):
    for option, path in (("--json", tmp_path / "no" / "such.json"), ("--html", tmp_path)):
        process = command(option, path)
        assert process.returncode == 2
        assert f"{option} {path}: expected a file in an existing folder" in process.stderr
        assert "measuring" not in process.stderr


def test_a_full_disk_costs_neither_the_report_nor_what_was_there(clip, tmp_path):
    files = [tmp_path / "figures.json", tmp_path / "page.html"]
    for path in files:
        path.write_bytes(b"before")
    options = f"--quick --source {clip} --model lite --json {files[0]} --html {files[1]}"
    process = in_bash(f"ulimit -f 1; edge-pose benchmark {options}")
    assert process.returncode == 1
    assert "Sustained" in process.stdout
    said = [line for line in said_by(process) if line.startswith("edge-pose: ")]
    assert said == [f"edge-pose: {path}: cannot be written: File too large" for path in files]
    assert sorted(tmp_path.iterdir()) == files
    assert [path.read_bytes() for path in files] == [b"before"] * 2


def test_a_clip_whose_name_is_no_text_is_refused_before_anything_is_measured():
    process = in_bash(r"edge-pose benchmark --source $'film\xff.mp4'")
    assert process.returncode == 2
    assert r"film\xff.mp4: expected a name in UTF-8" in process.stderr


def test_an_error_of_the_loops_process_arrives_as_itself(tmp_path):
    job = Job(settings=settings(camera__source=str(tmp_path / "none.mp4")), live=False, frames=2)
    with pytest.raises(SourceNotFoundError, match=r"none\.mp4"):
        run_child(job, lambda _: None)


def test_a_camera_is_measured_at_its_own_rate_and_its_password_is_not_told():
    with NetworkCamera("mjpeg", fps=30) as camera, open_broker(settings().mqtt, None) as (mqtt, _):
        loop = Loops(settings(), mqtt, "lite", lambda _: None).measure("camera", camera.url, seconds=1.0)
    assert loop.frames > 1
    assert 0 < loop.fps < 36
    assert "capture" not in loop.stage_ms
    assert loop.age_ms.count == loop.frames
    assert "secret-word" not in loop.source
    assert (loop.with_people, loop.without_detection, loop.first_pose_s) == (0, None, None)


def test_the_rate_is_limited_as_in_a_run_but_where_the_question_is_what_the_board_can_do(clip):
    with open_broker(settings().mqtt, None) as (mqtt, _):
        loops = Loops(settings(pipeline__max_fps=3.0), mqtt, "lite", lambda _: None)
        fast, paced = (loops.measure(name, str(clip), frames=5) for name in ("clip", "paced"))
        sustained = loops.sustain(str(clip), 2.5, Warming())
    assert fast.fps > 6
    assert 0 < paced.fps < 6
    assert paced.dropped > 0
    assert sustained.moments
    assert all(moment.fps < 6 for moment in sustained.moments)


def test_figures_are_of_all_frames_that_were_asked_for(tmp_path):
    path, frames = tmp_path / "empty.avi", WINDOW_FRAMES + 50
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (64, 48))
    for _ in range(30):
        video.write(np.zeros((48, 64, 3), np.uint8))
    video.release()
    seldom = settings(camera__source=str(path), camera__loop=True, tracker__idle_fps=0.5)
    figures = run_child(Job(settings=seldom, live=False, frames=frames), lambda _: None)
    assert figures.frames == len(figures.age_ms) == frames


def test_without_mosquitto_the_demos_broker_serves(monkeypatch):
    pytest.importorskip("amqtt")
    monkeypatch.setattr(benchmark_broker.shutil, "which", lambda *_, **__: None)
    with open_broker(settings().mqtt, None) as (mqtt, words):
        assert "demo" in words
        assert check_broker(mqtt) == "3.1.1"


def test_a_named_broker_keeps_its_user_name():
    mine = msgspec.structs.replace(settings().mqtt, username="me", homeassistant=True)
    with open_broker(mine, "mqtt://example:1") as (mqtt, _):
        assert (mqtt.broker, mqtt.username, mqtt.homeassistant) == ("mqtt://example:1", "me", False)


class Warming:
    """A machine that gets warm, and after a while is throttled."""

    def __init__(self) -> None:
        self.temperature_c = 50.0

    def state(self) -> State:
        self.temperature_c += 5
        held = ["throttled"] if self.temperature_c > 80 else []
        return State(temperature_c=self.temperature_c, throttled=held, throttled_before=held)


def test_a_sustained_run_tells_that_the_board_throttles():
    watch = Watch(Warming(), 1.0, lambda _: None)
    frames = 1
    for second in range(1, 13):
        frames += 30 if second <= 6 else 15
        watch.hear(Progress(frames=frames, seconds=float(second), rss_mb=100.0 + second))
        watch.hear(Progress(frames=frames, seconds=second + 0.25, rss_mb=None))  # too soon to count
    run = watch.summary(12.0)
    assert [moment.fps for moment in run.moments] == [30.0] * 6 + [15.0] * 6
    assert run.slowdown == 0.5
    assert run.throttled == ["throttled"]
    assert run.rss_growth_mb == 9.0
    assert run.moments[0] == Moment(time_s=1.0, fps=30.0, temperature_c=55.0, throttled=[])


def test_a_run_too_short_for_a_moment_is_still_told():
    run = Watch(Warming(), 1.0, lambda _: None).summary(0.4)
    assert run.moments == []
    assert run.slowdown == 0.0
    assert run.throttled is None


def test_a_result_may_gain_fields(result, tmp_path):
    document = json.loads(msgspec.json.encode(result))
    document["later"] = document["board"]["later"] = 1
    (tmp_path / "new.json").write_text(json.dumps(document))
    assert read(tmp_path / "new.json") == result


def test_times_are_positive_and_counted():
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"count": 0, "p50": 1.0, "p95": 1.0, "p99": 1.0}, Times)
    assert msgspec.convert({"count": 1, "p50": 1.0, "p95": 1.0, "p99": 1.0}, Times).count == 1
