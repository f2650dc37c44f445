"""models/manifest.toml: which model files there are, what their tensors mean, and their sums."""

import hashlib
import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from edge.errors import ModelChecksumError, ModelError, ModelNotFoundError

MANIFEST_NAME = "manifest.toml"
SCHEMA = 1


class Source(msgspec.Struct, frozen=True):
    """The upstream file that a model was made from."""

    registry: str
    package: str
    version: str
    path: str
    sha256: str


class Tensor(msgspec.Struct, frozen=True):
    """An output: its tensor's name in the file, and what it means."""

    name: str
    shape: list[int]
    dtype: str
    meaning: str


class Input(msgspec.Struct, frozen=True):
    """The input picture: `range` is what 0 and 255 of the picture become in the model's own real numbers."""

    name: str
    shape: list[int]
    dtype: Literal["float32", "int8"]
    order: Literal["RGB"]
    range: tuple[float, float]


class Compilation(msgspec.Struct, frozen=True):
    """How a model was compiled for the Edge TPU: `sha256` is the plain model's, op counts are of its operators."""

    compiler: str
    sha256: str
    edgetpu_ops: int
    cpu_ops: int
    on_chip_bytes: int
    off_chip_bytes: int


class Entry(msgspec.Struct, frozen=True):
    """One model file."""

    name: str
    role: Literal["detector", "landmarks"]
    variant: str
    precision: str
    file: str
    bytes: int
    sha256: str
    licence: str
    source: Source
    input: Input
    outputs: list[Tensor]
    committed: bool = True
    compilation: Compilation | None = None

    def output_names(self) -> list[str]:
        """The outputs' tensor names."""
        return [tensor.name for tensor in self.outputs]


class Manifest(msgspec.Struct, frozen=True):
    """The manifest's content.

    Attributes:
        schema: 1.
        default_precision: for each TFLite runtime and variant the precision that was measured to be the best there.
        models: the model files.
        edgetpu: what `models compile` made of some of them.
    """

    schema: int
    default_precision: dict[str, dict[str, str]]
    models: list[Entry]
    edgetpu: list[Entry] = []


class ModelStore:
    """A folder of models with its manifest.

    Args:
        directory: the folder; None is the one that comes with the package.

    Raises:
        ModelNotFoundError: the folder has no manifest.
        ModelError: the manifest is not what this version can read.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or bundled_directory()
        path = self.directory / MANIFEST_NAME
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise ModelNotFoundError(
                f"{path}: there is no {MANIFEST_NAME}; expected the models folder of an edge-pose release. "
                "Leave model.directory empty to use the bundled models."
            ) from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ModelError(f"{path}: the model manifest cannot be read: {error}") from None
        try:
            self.manifest = msgspec.convert(document, Manifest)
        except msgspec.ValidationError as error:
            raise ModelError(f"{path}: not a model manifest of schema {SCHEMA}: {error}") from None
        if self.manifest.schema != SCHEMA:
            raise ModelError(f"{path}: manifest schema {self.manifest.schema}; this version reads {SCHEMA}")

    def default_precision(self, runtime: str, variant: str) -> str:
        """The precision that `auto` means for a variant (`detector`, `lite`...) under a runtime.

        Raises:
            ModelNotFoundError: the manifest names none.
        """
        try:
            return self.manifest.default_precision[runtime][variant]
        except KeyError:
            raise ModelNotFoundError(
                f"{self.directory / MANIFEST_NAME}: no default precision for {variant} under {runtime}; set "
                "model.precision"
            ) from None

    def find(self, role: str, variant: str, precision: str) -> Entry:
        """The entry of a model.

        Raises:
            ModelNotFoundError: there is none; the message lists what there is.
        """
        entries = [entry for entry in self.manifest.models if entry.role == role]
        for entry in entries:
            if (entry.variant, entry.precision) == (variant, precision):
                return entry
        known = ", ".join(f"{entry.variant} {entry.precision}" for entry in entries)
        raise ModelNotFoundError(f"no {role} model {variant} {precision} in {self.directory}; there are: {known}")

    def find_compiled(self, role: str, variant: str) -> Entry:
        """The entry of a model that was compiled for the Edge TPU.

        Raises:
            ModelNotFoundError: there is none, or it was compiled from another version of the model.
        """
        how = (
            "On an x86-64 PC: edge-pose models compile --out FOLDER; copy the folder here and set model.directory "
            "(docs/coral.md)"
        )
        for entry in self.manifest.edgetpu:
            if (entry.role, entry.variant) == (role, variant):
                plain = self.find(role, variant, entry.precision)
                if entry.compilation and entry.compilation.sha256 == plain.sha256:
                    return entry
                raise ModelNotFoundError(
                    f"{self.path(entry)} was compiled from another version of {plain.file}; compile it again. {how}"
                )
        name = role if variant == role else f"{role} model {variant}"
        raise ModelNotFoundError(f"no {name} in {self.directory} is compiled for the Edge TPU. {how}")

    def read(self, entry: Entry) -> bytes:
        """The model file's bytes, their sum checked.

        Raises:
            ModelNotFoundError: the file is missing.
            ModelChecksumError: its SHA-256 is not the manifest's.
        """
        path = self.path(entry)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise ModelNotFoundError(f"{path}: the model file is missing. {self._remedy(entry)}") from None
        except OSError as error:
            raise ModelError(f"{path}: the model file cannot be read: {error}") from None
        found = hashlib.sha256(data).hexdigest()
        if found != entry.sha256:
            raise ModelChecksumError(
                f"{path}: SHA-256 {found[:16]}..., {len(data)} bytes; the manifest expects {entry.sha256[:16]}..., "
                f"{entry.bytes} bytes. The file is damaged or was changed. {self._remedy(entry)}"
            )
        return data

    def _remedy(self, entry: Entry) -> str:
        """How to bring a model file back."""
        if entry.committed:
            return "Reinstall edge-pose to bring it back."
        if entry.compilation:
            return "Compile it again (docs/coral.md)."
        return (
            "It does not come with edge-pose; in a checkout of its repository, with the extra `build` installed, "
            f"`python -m models.build --variants {entry.variant} --out {self.directory}` makes it."
        )

    def paths(self, precision: str) -> list[Path]:
        """The files of a precision that are here.

        Raises:
            ModelNotFoundError: there is none.
        """
        every = [self.path(entry) for entry in self.manifest.models if entry.precision == precision]
        here = [path for path in every if path.is_file()]
        if not here:
            raise ModelNotFoundError(f"{self.directory} has no {precision} model; give a FILE")
        return here

    def path(self, entry: Entry) -> Path:
        """Where the model file should be."""
        return self.directory / entry.file


def bundled_directory() -> Path:
    """The models that come with the package: inside it when installed, beside it in a checkout."""
    inside = Path(__file__).parent / "_models"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "models"
