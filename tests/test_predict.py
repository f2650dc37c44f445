"""The command line as a user meets it: a process of its own, real files, wrong input."""

import importlib.util
import itertools
import json
import os
import re
import subprocess
import sys
import tracemalloc
from types import SimpleNamespace

import cv2
import jsonschema
import msgspec
import numpy as np
import pytest
from conftest import read_clip, settings

from edge.manifest import bundled_directory
from edge.messages import PoseMessage
from edge.pose import Frame, Pose, Roi
from edge.predict import FrameResult, Outputs, _poses_of, predict
from edge.schema import schema_text


def edge_pose(*arguments, **more):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EDGE_POSE_")}
    environment |= more.pop("environment", {})
    command = [sys.executable, "-m", "edge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False, **more)


@pytest.fixture(scope="module")
def folder(clip, tmp_path_factory):
    """Good and bad files of every kind."""
    folder = tmp_path_factory.mktemp("media")
    image = next(image for number, image in enumerate(read_clip(clip)) if number == 60)
    person = image[250:994, 900:1768]
    cv2.imwrite(str(folder / "person.png"), person)
    cv2.imwrite(str(folder / "grey.png"), cv2.cvtColor(person, cv2.COLOR_BGR2GRAY))
    cv2.imwrite(str(folder / "rgba.png"), cv2.cvtColor(person, cv2.COLOR_BGR2BGRA))
    cv2.imwrite(str(folder / "edge.png"), person[:, 420:])
    cv2.imwrite(str(folder / "lying.png"), np.rot90(person))
    cv2.imwrite(str(folder / "dot.png"), person[:1, :1])
    cv2.imwrite(str(folder / "wide.png"), np.tile(person[:200], (1, 12, 1))[:, :10_000])
    (folder / "empty.png").write_bytes(b"")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("This is not a film.\n" * 50)
    (folder / "text.jpg").write_text("This is not a picture.\n")
    (folder / "cut.png").write_bytes((folder / "person.png").read_bytes()[:100])
    return folder


def test_a_picture_gives_one_person_in_the_wire_format(folder, tmp_path):
    out = tmp_path / "out.json"
    done = edge_pose("predict", folder / "person.png", "--world", "--json", out, "--draw", tmp_path / "drawn")
    assert done.returncode == 0, done.stderr
    assert re.search(r"1 person \(score (0\.9\d|1\.00)\)", done.stdout)
    document = json.loads(out.read_text())
    ((entry,),) = document.values()
    assert (entry["frame"], entry["time"]) == (0, 0)
    (pose,) = entry["poses"]
    definitions = json.loads(schema_text(PoseMessage))["$defs"]
    jsonschema.validate(pose, {"$defs": definitions, "$ref": "#/$defs/PoseEntry"})
    assert len(pose["keypoints"]) == len(pose["world"]) == 33
    assert pose["source"] == "detected"
    drawn = cv2.imread(str(tmp_path / "drawn" / "person-000000.jpg"))
    original = cv2.imread(str(folder / "person.png"))
    assert drawn.shape == original.shape
    nose = pose["keypoints"][0]
    x, y = round(nose[0] * original.shape[1]), round(nose[1] * original.shape[0])
    assert np.abs(drawn[y - 2 : y + 3, x - 2 : x + 3].astype(int) - original[y - 2 : y + 3, x - 2 : x + 3]).max() > 60


@pytest.mark.parametrize("name", ["grey.png", "rgba.png"])
def test_grey_and_transparent_pictures_are_pictures_too(folder, name):
    done = edge_pose("predict", folder / name)
    assert done.returncode == 0, done.stderr
    assert "1 person" in done.stdout


@pytest.mark.parametrize("name", ["dot.png", "wide.png", "edge.png", "lying.png"])
def test_pictures_of_any_shape_are_handled(folder, name):
    done = edge_pose("predict", folder / name, "--json", "-")
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)) == [str(folder / name)]


def test_grey_agrees_with_colour(folder):
    done = edge_pose("predict", folder / "person.png", folder / "rgba.png", "--json", "-")
    first, second = (np.array(frames[0]["poses"][0]["keypoints"]) for frames in json.loads(done.stdout).values())
    assert (first == second).all()


def test_a_video_is_followed_frame_by_frame(clip, tmp_path):
    short = tmp_path / "short.mp4"
    writer = cv2.VideoWriter(str(short), cv2.VideoWriter_fourcc(*"mp4v"), 25, (884, 496))
    for number, image in enumerate(read_clip(clip)):
        if 60 <= number < 72:
            writer.write(cv2.resize(image, (884, 496)))
    writer.release()
    done = edge_pose("predict", short, "--json", "-")
    assert done.returncode == 0, done.stderr
    (frames,) = json.loads(done.stdout).values()
    assert [entry["frame"] for entry in frames] == list(range(12))
    assert frames[-1]["time"] - frames[0]["time"] == pytest.approx(11 / 25, abs=0.01)
    sources = [pose["source"] for entry in frames for pose in entry["poses"]]
    assert sources.count("detected") == 1
    assert sources.count("tracked") >= 9


@pytest.mark.parametrize("frames", [0, 1, 2, 4])
def test_the_document_and_the_summary_are_of_all_frames(clip, tmp_path, frames, monkeypatch, capsys):
    chosen = settings()

    def first_ones(*given, really=_poses_of):
        return itertools.islice(really(*given), frames)

    monkeypatch.setattr("edge.predict._poses_of", first_ones)
    out = tmp_path / "out.json"
    assert predict([str(clip)], chosen, Outputs(str(out))) == predict([str(clip)], chosen, Outputs()) == 0
    with_json, without = capsys.readouterr().out.splitlines()
    document = msgspec.json.decode(out.read_bytes(), type=dict[str, list[FrameResult]])
    found = document[str(clip)]
    assert [entry.frame for entry in found] == list(range(frames))
    assert out.read_bytes() == msgspec.json.encode(document) + b"\n"
    summary = f"{frames} frames, somebody in {sum(bool(entry.poses) for entry in found)} of them"
    if frames == 1:
        summary = f"1 person (score {found[0].poses[0].score:.2f})" if found[0].poses else "nobody"
    assert with_json == without == f"{clip}: {summary}"


@pytest.mark.parametrize("name", ["out.json", None])
def test_a_long_film_takes_little_memory(tmp_path, name, monkeypatch):
    source = SimpleNamespace(pictures=False, file="")
    points = np.random.default_rng(0).uniform(0, 500, (33, 5)).astype(np.float32)
    pose = Pose(1, 0.9, "tracked", points, None, Roi(0, 0, 1, 0), points)
    image = np.zeros((500, 500, 3), np.uint8)

    def film(*_):
        return ((source, Frame(image, number / 25, 0.0, 0.0, number=number), [pose]) for number in range(2000))

    monkeypatch.setattr("edge.predict._poses_of", film)
    monkeypatch.setattr("edge.predict.PoseEstimator", lambda _: None)  # a model takes some, too
    out = tmp_path / name if name else None
    chosen = settings()
    predict(["film"], chosen, Outputs())  # loads what is loaded once
    tracemalloc.start()
    predict(["film"], chosen, Outputs(str(out) if out else None))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6 + (4 * out.stat().st_size if out else 0)


BAD_FILES = ["empty.png", "empty.mp4", "text.mp4", "text.jpg", "cut.png", "none.png"]


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_named_and_the_others_are_still_done(folder, name, tmp_path):
    out = tmp_path / "out.json"
    done = edge_pose("predict", folder / name, folder / "person.png", "--json", out)
    assert done.returncode == 1
    assert name in done.stderr
    assert "Traceback" not in done.stderr
    # Nothing is known of the bad one, which is not that nobody is there.
    assert len(done.stdout.splitlines()) == 1
    ((path, (entry,)),) = json.loads(out.read_text()).items()
    assert path == str(folder / "person.png")
    assert len(entry["poses"]) == 1


def test_the_pictures_of_a_folder_keep_their_names(folder, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name, source in (("1.png", "person.png"), ("2.jpg", "text.jpg"), ("3.png", "grey.png")):
        (pictures / name).write_bytes((folder / source).read_bytes())
    out = tmp_path / "out.json"
    assert edge_pose("predict", pictures, "--json", out).returncode == 0
    (entries,) = json.loads(out.read_text()).values()
    assert [entry["file"] for entry in entries] == ["1.png", "3.png"]


def test_no_picture_is_drawn_over_another(folder, tmp_path):
    image = cv2.imread(str(folder / "grey.png"))
    (tmp_path / "other").mkdir()
    pictures = [tmp_path / name for name in ("photo-2.png", "photo.png", "other/photo.png", "photo-3.png")]
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(picture), image[: 300 + number])
    out = tmp_path / "out"
    assert edge_pose("predict", *pictures, "--draw", out).returncode == 0
    heights = {path.name: cv2.imread(str(path)).shape[0] for path in out.iterdir()}
    names = ("photo-2", "photo", "photo-3", "photo-3-2")
    assert heights == {f"{name}-000000.jpg": 300 + number for number, name in enumerate(names)}


def test_of_several_people_as_many_are_found_as_are_asked_for(folder, tmp_path):
    person = cv2.imread(str(folder / "person.png"))
    cv2.imwrite(str(tmp_path / "two.png"), np.hstack([person, person[:, ::-1]]))
    assert "1 person" in edge_pose("predict", tmp_path / "two.png").stdout
    assert "2 people" in edge_pose("predict", tmp_path / "two.png", "--max-people", "2").stdout


def test_a_picture_is_looked_at_by_itself_whatever_looks_at_it(folder, tmp_path):
    picture, target = folder / "person.png", tmp_path / "aim.jpg"
    assert "1 person" in edge_pose("snapshot", target, "--source", picture).stdout
    ran = edge_pose("run", "--source", picture, "--broker", "mqtt://127.0.0.1:1", "--print")
    assert ran.returncode == 0
    assert "no message was delivered: there was never a connection to mqtt://127.0.0.1:1" in ran.stderr
    (message,) = map(json.loads, ran.stdout.splitlines())
    assert len(message["poses"]) == 1


def test_a_demo_whose_reader_goes_ends_quietly(tmp_path):
    command = f"{sys.executable} -m edge demo --picture {tmp_path / 'demo.jpg'} | head -8"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=False)
    assert len(done.stdout.splitlines()) == 8
    assert "Traceback" not in done.stderr


def test_an_output_that_cannot_be_written_is_found_before_any_work(folder):
    done = edge_pose("predict", folder / "person.png", "--json", "/nowhere/at/all.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "/nowhere/at/all.json" in done.stderr


WRONG = {
    "port": (["run", "--broker", "mqtt://127.0.0.1:70000"], 2, "70000"),
    "scheme": (["run", "--broker", "ftp://host"], 2, "ftp"),
    "model": (["run", "--model", "gigantic"], 2, "expected one of lite, full, heavy"),
    "source": (["run", "--source", "no-such-file.mp4"], 1, "no-such-file.mp4"),
    "device": (["predict", "--device", "edgetpu", "x.png"], 1, "edgetpu"),
    "duration": (["run", "--duration", "-3"], 2, "--duration: given '-3', expected a number of seconds above 0"),
    "frames": (["benchmark", "--frames", "x"], 2, "--frames: given 'x', expected a whole number of at least 2"),
    "people": (["predict", "--max-people", "9", "x.png"], 2, "--max-people: given '9', expected a whole number from 1"),
    "picture": (["demo", "--picture", "/nowhere/x.jpg"], 2, "/nowhere/x.jpg: there is no such folder"),
    "no path": (["predict", ""], 2, "argument PATH: given '', expected a name"),
    "no json": (["predict", "x.png", "--json", ""], 2, "argument --json: given '', expected a name"),
    "no folder": (["predict", "x.png", "--draw", ""], 2, "argument --draw: given '', expected a name"),
    "no page": (["benchmark", "--html", ""], 2, "argument --html: given '', expected a name"),
    "no settings": (["config", "show", "--config", ""], 2, "argument --config: given '', expected a name"),
    "no source": (["run", "--source", ""], 2, "camera.source is empty"),
    "no scheme": (["predict", "foo://bar"], 2, "foo:// is not known"),
    "no broker": (["run", "--broker", ""], 2, "mqtt.broker is empty"),
    "config": (["run", "--config", "no-such.toml"], 78, "no-such.toml"),
    "command": (["jump"], 2, "jump"),
    "nothing": ([], 2, "COMMAND"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage_is_said_plainly(name):
    arguments, status, named = WRONG[name]
    done = edge_pose(*arguments)
    assert done.returncode == status, done.stderr
    assert named in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[camera]\nwidht = 640\n", "did you mean width"),
        ("[mqtt]\nbroker = 'mqtt://127.0.0.1:70000'\n", "70000"),
        ("[mqtt]\ndevice_name = 'hall/door'\n", "hall/door"),
    ],
)
def test_a_wrong_configuration_file_has_a_status_of_its_own(tmp_path, text, named):
    path = tmp_path / "config.toml"
    path.write_text(text)
    for command in ("check", "show"):
        done = edge_pose("config", command, "--config", path)
        assert done.returncode == 78, done.stdout
        assert named in done.stderr
    done = edge_pose("run", "--config", path)
    assert done.returncode == 78
    assert "Traceback" not in done.stderr


def test_config_show_and_check(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("[camera]\nrotate = 90\n")
    assert edge_pose("config", "check", "--config", path).returncode == 0
    shown = edge_pose("config", "show", "--config", path, environment={"EDGE_POSE_MODEL_MODEL": "full"}).stdout
    assert f"rotate = 90  # {path}" in shown
    assert 'model = "full"  # EDGE_POSE_MODEL_MODEL' in shown


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("broker = 'mqtts://broker'\nca_file = '/nowhere.pem'", "mqtt.ca_file"),
        ("username = 'me'\npassword_file = '/nowhere'", "mqtt.password_file"),
        (f"broker = 'mqtt://{64 * 'a'}.example'", "no valid host name"),
    ],
)
def test_config_check_looks_at_what_run_would_stumble_over(tmp_path, wrong, named):
    path = tmp_path / "config.toml"
    path.write_text(f"[mqtt]\n{wrong}\n")
    done = edge_pose("config", "check", "--config", path)
    assert done.returncode == 78
    assert named in done.stderr


def test_config_check_looks_for_the_models(tmp_path):
    done = edge_pose("config", "check", environment={"EDGE_POSE_MODEL_DIRECTORY": str(tmp_path)})
    assert done.returncode == 78
    assert "there is no manifest.toml" in done.stderr
    (tmp_path / "manifest.toml").write_bytes((bundled_directory() / "manifest.toml").read_bytes())
    for model in ("lite", "heavy"):
        chosen = {"EDGE_POSE_MODEL_DIRECTORY": str(tmp_path), "EDGE_POSE_MODEL_MODEL": model}
        done = edge_pose("config", "check", environment=chosen)
        assert done.returncode == 78
        assert f"pose_landmark_{model}" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("[model]\nruntime = 'tflite-runtime'\n", "pip install 'edge-pose[tflite]'"),
        ("[model]\ndirectory = '/nowhere'\n", "/nowhere/manifest.toml"),
        ("[model]\ndirectory = '/etc/passwd'\n", "/etc/passwd/manifest.toml"),
        ("[camera]\ntuning_file = '/nowhere.json'\n", "/nowhere.json"),
    ],
)
def test_what_the_settings_name_and_is_not_there_is_wrong_configuration(tmp_path, wrong, named):
    if "tflite" in wrong and importlib.util.find_spec("tflite_runtime"):
        pytest.skip("tflite-runtime is installed here")
    path = tmp_path / "config.toml"
    path.write_text(wrong)
    done = edge_pose("config", "check", "--config", path)
    assert done.returncode == 78
    assert named in done.stderr
    done = edge_pose("run", "--config", path, "--broker", "mqtt://127.0.0.1:1")
    assert done.returncode == 78
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mark_before_the_first_line_is_no_mistake(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("[camera]\nrotate = 90\n", encoding="utf-8-sig")
    assert edge_pose("config", "check", "--config", path).returncode == 0


def test_config_show_hides_the_password_of_a_stream():
    source = "rtsp://admin:s3cret@10.0.0.7/live"
    shown = edge_pose("config", "show", environment={"EDGE_POSE_CAMERA_SOURCE": source})
    assert "rtsp://***@10.0.0.7/live" in shown.stdout
    assert "s3cret" not in shown.stdout + shown.stderr


def test_a_truncated_model_is_refused(tmp_path, folder):
    for path in bundled_directory().iterdir():
        if path.is_file():
            (tmp_path / path.name).symlink_to(path)
    lite = tmp_path / "pose_landmark_lite-float16.tflite"
    data = lite.read_bytes()
    lite.unlink()
    lite.write_bytes(data[:100_000])
    done = edge_pose(
        *("predict", folder / "person.png", "--precision", "float16"),
        environment={"EDGE_POSE_MODEL_DIRECTORY": str(tmp_path)},
    )
    assert done.returncode == 1
    assert "pose_landmark_lite-float16.tflite" in done.stderr
    assert "SHA-256" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["run", "predict", "evaluate", "benchmark", "doctor"])
def test_heavy_which_is_built_by_oneself_is_missed_with_the_command_that_makes_it(tmp_path, folder, command):
    for path in bundled_directory().iterdir():
        if path.is_file() and "heavy" not in path.name:
            (tmp_path / path.name).symlink_to(path)
    annotations = tmp_path / "people.json"
    keypoints = [value for joint in range(17) for value in (400, 100 + 30 * joint, 2)]
    person = {"image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [0, 0, 868, 744], "keypoints": keypoints}
    annotations.write_text(json.dumps({"images": [{"id": 1, "file_name": "person.png"}], "annotations": [person]}))
    given = {"predict": [folder / "person.png"], "evaluate": [annotations, folder], "benchmark": ["--quick"]}
    done = edge_pose(
        *(command, *given.get(command, []), "--model", "heavy"),
        environment={"EDGE_POSE_MODEL_DIRECTORY": str(tmp_path)},
    )
    assert done.returncode == (1 if command == "doctor" else 78)
    assert f"--variants heavy --out {tmp_path}" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["run"],
        ["demo"],
        ["predict"],
        ["benchmark"],
        ["evaluate"],
        ["watch"],
        ["homeassistant"],
        ["config"],
        ["models"],
    ],
)
def test_help_says_what_a_command_does(command):
    done = edge_pose(*command, "--help")
    assert done.returncode == 0
    assert "Exit status: 0 done" in done.stdout
    assert not re.search(r"^ +--?[\w-]+ *$", done.stdout, re.MULTILINE), "an option without a word of help"


def test_models_list_and_verify():
    listed = edge_pose("models", "list")
    assert listed.returncode == 0
    assert "pose_detector" in listed.stdout
    assert edge_pose("models", "verify").returncode == 0
