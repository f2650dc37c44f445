"""The manifest, the model files, and the runtime that loads them."""

import ctypes
import hashlib
import mmap
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge import pages
from edge.config import ModelSettings
from edge.errors import DelegateError, ModelChecksumError, ModelError, ModelNotFoundError
from edge.manifest import ModelStore
from edge.modelcheck import list_models, verify_models
from edge.runtime import RUNTIMES, Model, load_runtime, open_model


@pytest.fixture
def copy(store, tmp_path):
    """A models folder that a test may damage."""
    for name in ("manifest.toml", "pose_landmark_lite-float16.tflite"):
        shutil.copy(store.directory / name, tmp_path)
    return ModelStore(tmp_path)


def lite(store, device="cpu"):
    return Model(store, store.find("landmarks", "lite", "float16"), load_runtime(), device, 1)


def test_every_committed_model_is_there_with_its_sum(store):
    for entry in store.manifest.models:
        if entry.committed:
            data = store.path(entry).read_bytes()
            assert len(data) == entry.bytes
            assert hashlib.sha256(data).hexdigest() == entry.sha256


def test_every_model_that_is_here_loads_and_has_the_outputs_that_the_manifest_names(store):
    runtime = load_runtime()
    for entry in store.manifest.models:
        if entry.committed or store.path(entry).is_file():
            model = Model(store, entry, runtime, "cpu", 1)
            model.set_image(np.zeros((model.input_size_px, model.input_size_px, 3), np.uint8), "RGB")
            model.invoke()
            for tensor in entry.outputs:
                assert list(model.output(tensor.name).shape) == tensor.shape
                assert np.isfinite(model.output(tensor.name)).all()


def resident_bytes(path):
    """How much of a file is in this process's memory, by its mappings."""
    blocks = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.MULTILINE)
    ours = [block for block in blocks if block.partition("\n")[0].endswith(str(path))]
    return sum(int(re.search(r"^Rss:\s+(\d+) kB", block, re.MULTILINE)[1]) * 1024 for block in ours)


def test_a_loaded_model_does_not_hold_its_file_in_memory(copy):
    model = lite(copy)
    model.set_image(np.full((256, 256, 3), 90, np.uint8), "RGB")
    model.invoke()
    first = model.output("landmarks")
    assert resident_bytes(copy.path(model.entry)) < model.entry.bytes / 10
    model.invoke()
    assert (model.output("landmarks") == first).all()


def test_the_pages_of_mapped_files_can_be_given_back_and_are_still_there(tmp_path):
    path = tmp_path / "some file"
    path.write_bytes(bytes(range(256)) * 4096)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[::4096]) == 0
        assert resident_bytes(path) == 2**20
        pages.forget_files()
        assert resident_bytes(path) == 0
        assert mapped[:] == path.read_bytes()


def test_pages_that_were_written_to_are_kept(tmp_path):
    path = tmp_path / "a library with relocations"
    path.write_bytes(bytes(2**16))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        mapped[0] = 7
        address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(2**16), mmap.PROT_READ) == 0
        pages.forget_files()
        assert mapped[0] == 7


def test_most_of_the_code_that_imports_touched_is_given_back():
    script = """
import re
from pathlib import Path
from edge import pages, run
def resident(): return int(re.search(r"RssFile:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
before = resident()
pages.forget_files()
print(before, resident())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after < before / 2


def test_the_default_precision_of_each_runtime_exists(store):
    for runtime in RUNTIMES:
        for role, variant in (("detector", "detector"), ("landmarks", "lite"), ("landmarks", "full")):
            assert store.find(role, variant, store.default_precision(runtime, variant)).committed
    with pytest.raises(ModelNotFoundError, match="no default precision for tiny under ai-edge-litert"):
        store.default_precision("ai-edge-litert", "tiny")


def test_a_model_that_is_not_there(copy):
    with pytest.raises(ModelNotFoundError, match=r"no landmarks model lite int3 in .*; there are: .*lite float16"):
        copy.find("landmarks", "lite", "int3")
    with pytest.raises(ModelNotFoundError, match="missing"):
        copy.read(copy.find("landmarks", "full", "float16"))


def not_shipped(store):
    return [entry for entry in store.manifest.models if not entry.committed]


def test_a_model_that_does_not_come_with_edge_pose_names_the_command_that_makes_it(copy, capsys):
    assert {entry.variant for entry in not_shipped(copy)} == {"heavy"}
    for entry in not_shipped(copy):
        command = f"python -m models.build --variants heavy --out {copy.directory}"
        with pytest.raises(ModelNotFoundError, match=re.escape(command)):
            copy.read(entry)
        copy.path(entry).write_bytes(b"what an older version's command made")
        with pytest.raises(ModelChecksumError, match=re.escape(command)):
            copy.read(entry)
        copy.path(entry).unlink()
    capsys.readouterr()
    list_models(copy)
    listed = [line for line in capsys.readouterr().out.splitlines() if "heavy" in line and "(not here)" in line]
    verify_models(copy)
    absent = [line for line in capsys.readouterr().out.splitlines() if line.startswith("absent")]
    assert len(listed) == len(absent) == len(not_shipped(copy))


def test_the_default_precision_of_a_model_that_does_not_come_with_edge_pose_is_one_that_the_command_makes(store):
    for runtime in RUNTIMES:
        assert store.find("landmarks", "heavy", store.default_precision(runtime, "heavy")) in not_shipped(store)


def test_a_damaged_model_is_refused_by_its_sum(copy):
    path = copy.directory / "pose_landmark_lite-float16.tflite"
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelChecksumError, match="damaged or was changed"):
        lite(copy)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelChecksumError, match="manifest expects"):
        lite(copy)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"not a model at all", None])
def test_a_file_that_is_no_model_but_has_the_right_sum(copy, content):
    path = copy.directory / "pose_landmark_lite-float16.tflite"
    data = path.read_bytes()
    content = data[: len(data) // 2] if content is None else content
    old, new = hashlib.sha256(data).hexdigest(), hashlib.sha256(content).hexdigest()
    manifest = copy.directory / "manifest.toml"
    manifest.write_text(manifest.read_text().replace(old, new))
    path.write_bytes(content)
    with pytest.raises(ModelError, match="cannot load this model"):
        lite(ModelStore(copy.directory))


def test_a_model_with_another_interface_is_refused(copy):
    manifest = copy.directory / "manifest.toml"
    manifest.write_text(manifest.read_text().replace('name = "heatmap"', 'name = "warmth"'))
    with pytest.raises(ModelError, match="not the model that the manifest describes"):
        lite(ModelStore(copy.directory))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("[[models", "cannot be read"), ("x = 1", "not a model manifest"), ("", "not a model manifest")],
)
def test_a_broken_manifest(tmp_path, text, complaint):
    (tmp_path / "manifest.toml").write_text(text)
    with pytest.raises(ModelError, match=complaint):
        ModelStore(tmp_path)
    with pytest.raises(ModelNotFoundError, match=r"no manifest\.toml"):
        ModelStore(tmp_path / "nowhere")


def test_a_device_that_is_not_there_is_never_replaced_silently(store):
    with pytest.raises(DelegateError, match="edgetpu"):
        lite(store, "edgetpu")


def test_colour_order_is_folded_into_the_input(store):
    model = lite(store)
    picture = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    model.set_image(picture, "RGB")
    model.invoke()
    rgb = model.output("landmarks")
    model.set_image(np.ascontiguousarray(picture[:, :, ::-1]), "BGR")
    model.invoke()
    assert (model.output("landmarks") == rgb).all()
    model.set_image(picture, "BGR")
    model.invoke()
    assert (model.output("landmarks") != rgb).any()


def test_listing_and_verifying(copy, capsys):
    assert list_models(copy) == 0
    assert "pose_landmark_lite     float16" in capsys.readouterr().out
    assert verify_models(copy) == 1
    printed = capsys.readouterr()
    assert "ok       pose_landmark_lite-float16.tflite" in printed.out
    assert "missing  pose_detector-float16.tflite" in printed.out
    assert "Reinstall" in printed.err
    assert verify_models(ModelStore()) == 0


def test_a_precision_without_a_detector_leaves_the_detector_at_its_default_and_says_so(store, caplog):
    caplog.set_level("INFO")
    runtime = load_runtime()
    without = ModelStore(store.directory)
    kept = [e for e in store.manifest.models if (e.role, e.precision) != ("detector", "int8-full")]
    without.manifest = msgspec.structs.replace(store.manifest, models=kept)
    wanted = ModelSettings(precision="int8-full")
    assert open_model(without, "landmarks", "lite", wanted, runtime).entry.precision == "int8-full"
    default = store.default_precision(runtime.name, "detector")
    assert open_model(without, "detector", "detector", wanted, runtime).entry.precision == default
    assert "there is no int8-full detector" in caplog.text
    kept = [e for e in store.manifest.models if (e.variant, e.precision) != ("heavy", "int8")]
    without.manifest = msgspec.structs.replace(store.manifest, models=kept)
    with pytest.raises(ModelNotFoundError, match="no landmarks model heavy int8"):
        open_model(without, "landmarks", "heavy", ModelSettings(precision="int8"), runtime)
