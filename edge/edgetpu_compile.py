"""The command `models compile`: Coral's compiler run on the int8-full models, its log read, its output put to use.

The detector and the landmark model are compiled together, landmarks first: both then keep their parameters on the chip
at once, so that going from one to the other costs nothing.
"""

import hashlib
import platform
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from edge.edgetpu import CUSTOM_OP, DOCS
from edge.edgetpu_graph import read_graph
from edge.errors import MissingDependencyError, ModelError
from edge.manifest import MANIFEST_NAME, Compilation, Entry, ModelStore

COMPILER: Final = "edgetpu_compiler"
PRECISION: Final = "int8-full"
MAPPED: Final = "Mapped to Edge TPU"
# Compiler 16 gives up by itself after 180 s.
TIMEOUT_S: Final = 900
# Everything below this line of a manifest is written anew by each run.
MARK: Final = "# Below: written by `edge-pose models compile`, from the models above."
UNITS: Final = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE: Final = re.compile(r"([\d.]+)\s*(B|KiB|MiB|GiB)")
_OPERATOR: Final = re.compile(r"(?P<name>\S+)\s+(?P<count>\d+)\s+(?P<status>\S.*)")


@dataclass(frozen=True, slots=True)
class CompilerLog:
    """What the compiler says of one model, in the words of its log.

    Attributes:
        version: of the compiler.
        mapped: operators that the Edge TPU runs.
        unmapped: (operator, count, reason) of those that it does not.
        on_chip_bytes: parameters kept on the chip.
        off_chip_bytes: parameters that travel with every picture.
    """

    version: str
    mapped: int
    unmapped: tuple[tuple[str, int, str], ...]
    on_chip_bytes: int
    off_chip_bytes: int


def parse_log(text: str) -> dict[str, CompilerLog]:
    """The compiler's standard output with `--show_operations`, by the name of each input file.

    Raises:
        ModelError: it does not read like that of any known version.
    """
    version = re.search(r"Edge TPU Compiler version (\S+)", text)
    logs = {}
    for section in re.split(r"^Input model:\s*", text, flags=re.MULTILINE)[1:]:
        name, _, rest = section.partition("\n")
        operators = _operators(rest)
        if not operators:
            raise ModelError(f"{COMPILER}: its log for {name.strip()} lists no operators; expected compiler 14 to 16")
        logs[Path(name.strip()).name] = CompilerLog(
            version=version[1] if version else "unknown",
            mapped=sum(count for _, count, status in operators if status == MAPPED),
            unmapped=tuple(entry for entry in operators if entry[2] != MAPPED),
            on_chip_bytes=_size(rest, "On-chip memory used for caching model parameters"),
            off_chip_bytes=_size(rest, "Off-chip memory used for streaming uncached model parameters"),
        )
    return logs


def _operators(text: str) -> list[tuple[str, int, str]]:
    head = re.search(r"^Operator\s+Count\s+Status\s*$", text, flags=re.MULTILINE)
    if head is None:
        return []
    found = []
    for line in text[head.end() :].splitlines():
        match = _OPERATOR.fullmatch(line.strip())
        if match:
            found.append((match["name"], int(match["count"]), match["status"].strip()))
    return found


def _size(text: str, label: str) -> int:
    match = re.search(re.escape(label) + r":\s*" + _SIZE.pattern, text)
    return round(float(match[1]) * UNITS[match[2]]) if match else 0


def find_compiler() -> str:
    """The compiler's path.

    Raises:
        MissingDependencyError: it is not installed; says where it comes from.
    """
    found = shutil.which(COMPILER)
    if found:
        return found
    machine = platform.machine()
    if machine != "x86_64":
        raise MissingDependencyError(
            f"{COMPILER} is not here, and there is none for this machine ({machine}): Coral publishes it for x86-64 "
            f"Linux only. Run `edge-pose models compile --out FOLDER` on such a PC, copy the folder here, and set "
            f"model.directory to it ({DOCS})."
        )
    raise MissingDependencyError(
        f"{COMPILER} is not installed. On Debian and Ubuntu it is the package edgetpu-compiler of Coral's package "
        f"source; anywhere else it runs in a container. {DOCS} has the commands for both."
    )


def compile_models(store: ModelStore, variant: str, out: Path | None = None) -> int:
    """Compile the detector and a landmark model, and add them to a manifest; returns the exit status.

    Args:
        store: has the plain models.
        variant: the landmark model.
        out: folder for the result, made if it is missing: a models folder of its own, with the plain models too. None
            is the store's own folder.

    Raises:
        MissingDependencyError: no compiler.
        ModelError: it fails, or its output cannot be used.
    """
    compiler = find_compiler()
    entries = [store.find("landmarks", variant, PRECISION), store.find("detector", "detector", PRECISION)]
    with tempfile.TemporaryDirectory(prefix="edge-pose-") as name:
        work = Path(name)
        for entry in entries:
            (work / entry.file).write_bytes(store.read(entry))
        logs = _run(compiler, work, entries)
        made = [_examine(entry, work, logs[entry.file]) for entry in entries]
        target = _prepare(store, out, variant)
        for entry in made:
            (target.directory / entry.file).write_bytes((work / entry.file).read_bytes())
    _write_manifest(target, made)
    for entry, plain in zip(made, entries, strict=True):
        _say(entry, logs[plain.file])
    print(f'folder: {target.directory}; use it with model.device = "edgetpu"' + _directory_hint(store, target))
    return 0


def _directory_hint(store: ModelStore, target: ModelStore) -> str:
    return "" if target.directory == store.directory else f' and model.directory = "{target.directory}"'


def _run(compiler: str, work: Path, entries: list[Entry]) -> dict[str, CompilerLog]:
    command = [compiler, "--show_operations", "--out_dir", str(work), *(str(work / entry.file) for entry in entries)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise ModelError(f"{compiler}: no end after {TIMEOUT_S} s") from None
    except OSError as error:
        raise ModelError(f"{compiler}: cannot be started: {error.strerror}") from None
    said = f"{done.stdout}\n{done.stderr}".strip()
    # Compiler 16 works in a child and has been seen to end with 0 although that failed.
    failed = done.returncode != 0 or "Compilation failed" in said
    missing = [entry.file for entry in entries if not (work / _compiled_name(entry)).is_file()]
    if failed or missing:
        last = "; ".join(line for line in said.splitlines()[-6:] if line.strip()) or "it said nothing"
        raise ModelError(
            f"{compiler} made no model of {', '.join(missing) or 'these'} (exit status {done.returncode}): {last}. "
            "`edge-pose models check-edgetpu FILE` tells which operators it should take."
        )
    logs = parse_log(said)
    unsaid = [entry.file for entry in entries if entry.file not in logs]
    if unsaid:
        raise ModelError(f"{compiler}: its log says nothing of {', '.join(unsaid)}; expected compiler 14 to 16")
    return logs


def _compiled_name(entry: Entry) -> str:
    return f"{Path(entry.file).stem}_edgetpu.tflite"


def _prepare(store: ModelStore, out: Path | None, variant: str) -> ModelStore:
    """The models folder that the result goes to; it gets the plain models too, for what falls back to the CPU."""
    directory = store.directory if out is None else out.absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for entry in store.manifest.models:
            wanted = entry.committed or entry.variant == variant
            if wanted and store.path(entry).is_file() and not (directory / entry.file).exists():
                (directory / entry.file).write_bytes(store.read(entry))
        if not (directory / MANIFEST_NAME).exists():
            text = (store.directory / MANIFEST_NAME).read_text(encoding="utf-8")
            (directory / MANIFEST_NAME).write_text(text.partition(MARK)[0], encoding="utf-8")
        (directory / MANIFEST_NAME).open("a").close()
    except OSError as error:
        raise ModelError(f"{directory}: cannot be written: {error.strerror}. Give a folder with --out.") from None
    return ModelStore(directory)


def _examine(entry: Entry, work: Path, log: CompilerLog) -> Entry:
    """Make sure that a compiled model is of use; returns its manifest entry."""
    path = work / _compiled_name(entry)
    data = path.read_bytes()
    graph = read_graph(data, path.name)
    outputs = {tensor.name for tensor in graph.outputs}
    lost = [name for name in entry.output_names() if name not in outputs]
    if lost or list(graph.inputs[0].shape) != entry.input.shape:
        raise ModelError(f"{path.name}: the compiler changed the model: input {graph.inputs[0].shape}, without {lost}")
    if all(op.name != CUSTOM_OP for op in graph.ops):
        raise ModelError(f"{path.name}: the compiler put nothing on the Edge TPU: {_reasons(log)}")
    compilation = Compilation(
        compiler=log.version,
        sha256=entry.sha256,
        edgetpu_ops=log.mapped,
        cpu_ops=sum(count for _, count, _ in log.unmapped),
        on_chip_bytes=log.on_chip_bytes,
        off_chip_bytes=log.off_chip_bytes,
    )
    return msgspec.structs.replace(
        entry,
        file=path.name,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        committed=False,
        compilation=compilation,
    )


def _reasons(log: CompilerLog) -> str:
    return "; ".join(f"{count} {name}: {reason}" for name, count, reason in log.unmapped) or "no reason is given"


def _write_manifest(store: ModelStore, made: list[Entry]) -> None:
    """Add the entries to the folder's manifest, in place of older ones of the same model."""
    names = {entry.name for entry in made}
    entries = [entry for entry in store.manifest.edgetpu if entry.name not in names] + made
    path = store.directory / MANIFEST_NAME
    text = path.read_text(encoding="utf-8").partition(MARK)[0].rstrip()
    tables = [f"{text}\n\n{MARK}"]
    for entry in entries:
        fields = msgspec.to_builtins(entry)
        tables.append("\n".join(["\n[[edgetpu]]", *(f"{key} = {_toml(value)}" for key, value in fields.items())]))
    fresh = path.with_suffix(".new")
    fresh.write_text("\n".join(tables) + "\n", encoding="utf-8")
    fresh.replace(path)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(content)}" for key, content in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return msgspec.json.encode(value).decode()  # JSON's scalars are TOML's too


def _say(entry: Entry, log: CompilerLog) -> None:
    kept, streamed = log.on_chip_bytes / UNITS["MiB"], log.off_chip_bytes / UNITS["MiB"]
    cpu = sum(count for _, count, _ in log.unmapped)
    print(f"{entry.file}: {log.mapped} operators on the Edge TPU, {cpu} on the CPU ({COMPILER} {log.version})")
    print(f"  parameters: {kept:.2f} MiB on the chip, {streamed:.2f} MiB sent with every picture")
    for name, count, reason in log.unmapped:
        print(f"  CPU: {count} {name}: {reason}")
