"""models compile, with a stand-in for Coral's compiler that behaves as its published logs say."""

import platform
import sys
from ast import literal_eval
from pathlib import Path

import pytest
from edgetpu_models import write_folder

from edge.cli import main
from edge.edgetpu_compile import compile_models, parse_log
from edge.errors import MissingDependencyError, ModelError, ModelNotFoundError
from edge.manifest import ModelStore

# A compiler that says nothing of memory.
OLD_LOG = """\
Edge TPU Compiler version 2.0.267685300
Input model: a.tflite
Output model: a_edgetpu.tflite

Operator                       Count      Status

CONV_2D                        3          Mapped to Edge TPU
"""


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """The stand-in, first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "edgetpu_compiler"
    tests = Path(__file__).parent
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(tests)!r})\n"
        "from edgetpu_compiler import main\nsys.exit(main())\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.delenv("TEST_COMPILER", raising=False)
    return program


@pytest.fixture
def plain(tmp_path):
    """A models folder in which nothing is compiled."""
    folder = tmp_path / "plain"
    folder.mkdir()
    write_folder(folder)
    manifest = folder / "manifest.toml"
    manifest.write_text(manifest.read_text().partition("[[edgetpu]]")[0])
    for path in folder.glob("*_edgetpu.tflite"):
        path.unlink()
    return ModelStore(folder)


def test_the_models_that_we_ship_are_compiled_together(store, compiler, tmp_path):
    told = tmp_path / "told"
    program = compiler.read_text()
    compiler.write_text(
        program.replace("import sys\n", f"import sys\nopen({str(told)!r}, 'w').write(repr(sys.argv))\n", 1)
    )
    out = tmp_path / "coral"
    assert compile_models(store, "full", out) == 0
    models = [Path(name).name for name in literal_eval(told.read_text()) if name.endswith(".tflite")]
    entries = [store.find("landmarks", "full", "int8-full"), store.find("detector", "detector", "int8-full")]
    assert models == [entry.file for entry in entries]
    made = ModelStore(out)
    for entry in (made.find_compiled("landmarks", "full"), made.find_compiled("detector", "detector")):
        assert made.read(entry)
        assert entry.outputs == store.find(entry.role, entry.variant, "int8-full").outputs


@pytest.mark.usefixtures("compiler")
def test_a_folder_for_the_device_is_made_with_plain_and_compiled_models(plain, tmp_path, capsys):
    out = tmp_path / "coral"
    assert compile_models(plain, "lite", out) == 0
    printed = capsys.readouterr().out
    assert "pose_landmark_lite_edgetpu.tflite: 9 operators on the Edge TPU, 0 on the CPU" in printed
    assert f'model.directory = "{out}"' in printed
    made = ModelStore(out)
    entry = made.find_compiled("landmarks", "lite")
    assert made.read(entry)
    assert entry.compilation.compiler == "16.0.384591198"
    assert (entry.compilation.edgetpu_ops, entry.compilation.cpu_ops) == (9, 0)
    assert (entry.compilation.on_chip_bytes, entry.compilation.off_chip_bytes) == (1_572_864, 0)
    assert made.read(made.find_compiled("detector", "detector"))
    assert made.read(made.find("landmarks", "lite", "int8-full")) == plain.read(plain.manifest.models[1])
    assert not plain.manifest.edgetpu
    assert not ModelStore(plain.directory).manifest.edgetpu


@pytest.mark.usefixtures("compiler")
def test_a_model_that_one_builds_oneself_comes_along_when_it_is_compiled_also_into_a_folder_that_is_there(
    plain, tmp_path
):
    manifest = plain.directory / "manifest.toml"
    manifest.write_text(manifest.read_text().replace("[[models]]", "[[models]]\ncommitted = false"))
    own, out = ModelStore(plain.directory), tmp_path / "coral"
    assert compile_models(own, "lite", out) == 0
    entry = own.find("landmarks", "lite", "int8-full")
    assert ModelStore(out).read(entry) == own.read(entry)
    (out / entry.file).unlink()
    assert compile_models(own, "lite", out) == 0
    assert ModelStore(out).read(entry) == own.read(entry)


@pytest.mark.usefixtures("compiler")
def test_compiling_again_replaces_the_entries_and_leaves_the_rest_of_the_manifest(plain, monkeypatch):
    before = (plain.directory / "manifest.toml").read_text().rstrip()
    compile_models(plain, "lite")
    monkeypatch.setenv("TEST_COMPILER", "partly")
    compile_models(ModelStore(plain.directory), "lite")
    text = (plain.directory / "manifest.toml").read_text()
    assert text.startswith(before)
    assert text.count("[[edgetpu]]") == 2
    assert ModelStore(plain.directory).find_compiled("landmarks", "lite").compilation.cpu_ops == 5


@pytest.mark.usefixtures("compiler")
def test_what_stays_on_the_cpu_is_said_and_kept(plain, monkeypatch, capsys):
    monkeypatch.setenv("TEST_COMPILER", "partly")
    compile_models(plain, "lite")
    printed = capsys.readouterr().out
    assert "4 operators on the Edge TPU, 5 on the CPU" in printed
    assert "CPU: 2 CONV_2D: More than one subgraph is not supported" in printed
    assert "CPU: 3 RESIZE_BILINEAR: Operation is otherwise supported" in printed
    assert "0.50 MiB sent with every picture" in printed
    main(["models", "list", "--config", str(_config(plain))])
    assert "edgetpu_compiler 16.0.384591198: 4 operators, 5 on the CPU" in capsys.readouterr().out
    assert main(["models", "verify", "--config", str(_config(plain))]) == 0
    assert "ok       pose_detector_edgetpu.tflite" in capsys.readouterr().out


def _config(store):
    path = store.directory / "config.toml"
    path.write_text(f'[model]\ndirectory = "{store.directory}"\n')
    return path


@pytest.mark.parametrize(
    ("behaviour", "complaint"),
    [
        ("failed", "made no model of pose_landmark_lite.tflite, pose_detector.tflite .*Compilation failed!"),
        ("silent", r"exit status 1\): it said nothing.*check-edgetpu"),
        ("nothing", "put nothing on the Edge TPU"),
        ("renamed", "the compiler changed the model"),
        ("otherlog", "lists no operators; expected compiler 14 to 16"),
    ],
)
@pytest.mark.usefixtures("compiler")
def test_a_compiler_that_fails_leaves_the_folder_as_it_was(plain, tmp_path, monkeypatch, behaviour, complaint):
    monkeypatch.setenv("TEST_COMPILER", behaviour)
    with pytest.raises(ModelError, match=complaint):
        compile_models(plain, "lite")
    assert not ModelStore(plain.directory).manifest.edgetpu
    assert not list(plain.directory.glob("*_edgetpu.tflite"))
    with pytest.raises(ModelError, match=complaint):
        compile_models(plain, "lite", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_without_a_compiler_it_is_said_where_to_get_it(plain, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    with pytest.raises(MissingDependencyError, match=r"package edgetpu-compiler of Coral's package source.*container"):
        compile_models(plain, "lite")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(
        MissingDependencyError, match=r"none for this machine \(aarch64\).*on such a PC, copy the folder"
    ):
        compile_models(plain, "lite")
    assert main(["models", "compile", "--config", str(_config(plain))]) == 1
    assert "docs/coral.md" in capsys.readouterr().err


@pytest.mark.usefixtures("compiler")
def test_a_model_that_was_not_compiled_or_has_changed_since_is_not_run(plain):
    with pytest.raises(
        ModelNotFoundError, match=r"no landmarks model lite .* compiled .*edge-pose models compile --out"
    ):
        plain.find_compiled("landmarks", "lite")
    compile_models(plain, "lite")
    manifest = plain.directory / "manifest.toml"
    manifest.write_text(manifest.read_text().replace(plain.manifest.models[1].sha256, "0" * 64, 1))
    with pytest.raises(ModelNotFoundError, match="compiled from another version"):
        ModelStore(plain.directory).find_compiled("landmarks", "lite")


@pytest.mark.usefixtures("compiler")
def test_a_folder_that_cannot_be_written(plain, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="Give a folder with --out"):
        compile_models(plain, "lite", tmp_path / "file")


def test_logs_of_older_compilers_are_read():
    log = parse_log(OLD_LOG)["a.tflite"]
    assert (log.version, log.mapped, log.unmapped) == ("2.0.267685300", 3, ())
    assert (log.on_chip_bytes, log.off_chip_bytes) == (0, 0)
