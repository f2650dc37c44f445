"""Run a .tflite model: picture in, outputs by name. The only file that knows the TFLite runtimes and devices."""

import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge import pages
from edge.config import ModelSettings
from edge.edgetpu import CUSTOM_OP, DOCS, create_delegate, is_edgetpu
from edge.errors import ConfigError, DelegateError, MissingDependencyError, ModelError, ModelNotFoundError
from edge.manifest import Entry, ModelStore
from edge.pose import ColorOrder
from edge.tensors import Output

_log = logging.getLogger(__name__)

# The runtimes, preferred one first: the distribution's name and the module that has the Interpreter. ai-edge-litert
# hands int8 operators to XNNPACK; tflite-runtime 2.14 does not.
RUNTIMES: Final = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}
# int8 inputs are quantized so that a pixel p becomes p - 128, whatever the model's own scale.
INT8_OFFSET: Final = np.uint8(0x80)


@dataclass(frozen=True, slots=True)
class Runtime:
    """The TFLite runtime that was chosen."""

    name: str
    version: str
    module: ModuleType


def load_runtime(choice: str = "auto") -> Runtime:
    """Import a TFLite runtime.

    Args:
        choice: a name of `RUNTIMES`, or `auto` for the first one installed.

    Raises:
        ConfigError: the one that is named is not installed, or cannot be imported.
        MissingDependencyError: none is, or can be.
    """
    names = list(RUNTIMES) if choice == "auto" else [choice]
    reasons = []
    for name in names:
        try:
            module = importlib.import_module(RUNTIMES[name])
            # As the package says it: importlib.metadata is slow to import, and has nothing to add.
            package = importlib.import_module(RUNTIMES[name].partition(".")[0])
            return Runtime(name, str(package.__version__), module)
        except ImportError as error:
            if isinstance(error.__cause__, KeyboardInterrupt):  # Ctrl-C in the middle of an extension module's import
                raise error.__cause__ from None
            reasons.append(f"{name}: {error}")
    if choice != "auto":
        install = "'edge-pose[tflite]'" if choice == "tflite-runtime" else choice
        raise ConfigError(
            f"model.runtime = {choice!r}: it cannot be imported ({reasons[0]}). Leave it at auto, or install it: "
            f"pip install {install}"
        )
    raise MissingDependencyError(
        f"no TFLite runtime can be imported ({'; '.join(reasons)}). Install one: pip install ai-edge-litert"
    )


class Model:
    """A loaded model on a device.

    Args:
        store: where models are.
        entry: which one; for an Edge TPU one that was compiled for it.
        runtime: what runs it.
        device: `cpu`, or `edgetpu[:usb|:pci][:N]`.
        threads: CPU threads.
        library: path of libedgetpu; empty is where the system has it.

    Attributes:
        fallback: why the CPU runs it although another device was asked for; empty if nothing fell back.

    Raises:
        ModelError: missing, damaged, or not a model that this runtime can run.
        DelegateError: the device cannot be used, or refuses the model.
    """

    def __init__(
        self, store: ModelStore, entry: Entry, runtime: Runtime, device: str, threads: int, *, library: str = ""
    ) -> None:
        self.entry = entry
        self.runtime = runtime
        self.device = device
        self.fallback = ""
        self._path = store.path(entry)
        self._interpreter = self._load(store.read(entry), threads, library)
        pages.forget_files()
        self._input = self._interpreter.get_input_details()[0]
        self._input_view: Callable[[], NDArray[Any]] = self._interpreter.tensor(self._input["index"])
        self._outputs = {
            detail["name"]: Output(detail, self._interpreter.tensor(detail["index"]))
            for detail in self._interpreter.get_output_details()
        }
        self._check()
        self.input_size_px = int(self._input["shape"][1])
        self._float_input = self._input["dtype"] == np.float32
        low, high = entry.input.range
        self._scale, self._offset = np.float32((high - low) / 255), np.float32(low)
        self._rgb = np.empty((self.input_size_px, self.input_size_px, 3), dtype=np.uint8)

    def _load(self, data: bytes, threads: int, library: str) -> Any:  # noqa: ANN401 -- the runtimes publish no types
        delegates = None
        if is_edgetpu(self.device):
            if CUSTOM_OP.encode() not in data:
                raise DelegateError(
                    f"device {self.device!r}: {self._path} is not compiled for the Edge TPU, so the CPU would run all "
                    f"of it. Compile it with `edge-pose models compile` on a PC ({DOCS})."
                )
            delegates = [create_delegate(self.runtime.module.load_delegate, self.device, library)]
        try:
            # By its path, which maps the file: bytes would have to be kept for as long as the interpreter lives.
            interpreter = self.runtime.module.Interpreter(
                model_path=str(self._path), num_threads=threads, experimental_delegates=delegates
            )
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            name, said = f"{self.runtime.name} {self.runtime.version}", _sentence(error)
            if delegates:
                raise DelegateError(
                    f"device {self.device!r}: the Edge TPU refuses {self._path}: {said}. It may have been compiled "
                    f"for a newer libedgetpu: install a newer one, or compile it again ({DOCS})."
                ) from None
            raise ModelError(f"{self._path}: {name} cannot load this model: {said}") from None
        return interpreter

    def _check(self) -> None:
        missing = [name for name in self.entry.output_names() if name not in self._outputs]
        if missing or list(self._input["shape"]) != self.entry.input.shape:
            raise ModelError(
                f"{self._path}: not the model that the manifest describes: input {self._input['shape'].tolist()}, "
                f"outputs {sorted(self._outputs)}; expected input {self.entry.input.shape}, outputs "
                f"{sorted(self.entry.output_names())}"
            )

    def set_image(self, image: NDArray[np.uint8], color: ColorOrder) -> None:
        """Write a picture into the input tensor, in the model's channel order and number format.

        Args:
            image: shape (S, S, 3) with S = `input_size_px`, uint8.
            color: order of its channels.
        """
        target = self._input_view()[0]
        if self._float_input:
            rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=self._rgb) if color == "BGR" else image
            np.multiply(rgb, self._scale, out=target)
            if self._offset:
                target += self._offset
            return
        pixels = target.view(np.uint8)
        if color == "BGR":
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=pixels)
        else:
            pixels[:] = image
        # p - 128 in two's complement is p with its top bit flipped.
        np.bitwise_xor(pixels, INT8_OFFSET, out=pixels)

    def invoke(self) -> None:
        """Run the model.

        Raises:
            ModelError: the runtime failed.
            DelegateError: the device failed.
        """
        try:
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            if is_edgetpu(self.device):
                raise DelegateError(
                    f"device {self.device!r}: the Edge TPU failed while running {self._path.name}: "
                    f"{_sentence(error)}. It may have been unplugged, be too hot, or get too little power ({DOCS})."
                ) from None
            raise ModelError(f"{self._path}: the model failed while running: {str(error).strip()}") from None

    def output(self, name: str) -> NDArray[np.float32]:
        """An output as float32 real numbers, in its own shape; a copy.

        Args:
            name: the output's name in the manifest.
        """
        return self._outputs[name].read()

    def reader(
        self, name: str, function: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    ) -> Callable[[NDArray[np.intp]], NDArray[np.float32]]:
        """A function that reads some elements of an output in place, without converting the rest.

        Args:
            name: the output's name in the manifest.
            function: applied to the real numbers, element by element. Of an int8 output it is computed once for each
                of the 256 values that there are.

        Returns:
            Takes indices into the flattened output, of any shape, and gives float32 of that shape.
        """
        return self._outputs[name].reader(function)

    def highest(self, name: str) -> NDArray[np.float32]:
        """The highest value of each channel of an output of shape (1, H, W, C), as real numbers, shape (C,)."""
        return self._outputs[name].highest()

    def has_output(self, name: str) -> bool:
        """Whether the model has an output of that name."""
        return name in self._outputs


def _sentence(error: Exception) -> str:
    """What a runtime says, in one line."""
    return " ".join(str(error).split()).rstrip(".")


def open_model(store: ModelStore, role: str, variant: str, wanted: ModelSettings, runtime: Runtime) -> Model:
    """Load the model that the settings ask for on the device that they ask for.

    A device that cannot be used is an error, unless `model.fallback` allows the CPU: then that is logged, and said in
    the model's `fallback`.

    Args:
        store: where models are.
        role: `detector` or `landmarks`.
        variant: as in the manifest.
        wanted: [model].
        runtime: what runs it.

    Raises:
        ConfigError: a precision that the device cannot run.
        ModelError: the model cannot be loaded.
        DelegateError: the device cannot be used.
    """
    device = wanted.detector_device if role == "detector" and wanted.detector_device else wanted.device
    check_precision(wanted)
    precision = chosen_precision(store, role, variant, wanted, runtime)
    fallback = ""
    if is_edgetpu(device):
        try:
            entry = _find_compiled(store, role, variant, device)
            return Model(store, entry, runtime, device, wanted.threads, library=wanted.edgetpu_library)
        except DelegateError as error:
            if wanted.fallback != "cpu":
                raise
            fallback = str(error)
            _log.warning('the CPU runs the %s model, as model.fallback = "cpu" allows: %s', role, fallback)
    model = Model(store, store.find(role, variant, precision), runtime, "cpu", wanted.threads)
    model.fallback = fallback
    return model


def chosen_precision(store: ModelStore, role: str, variant: str, wanted: ModelSettings, runtime: Runtime) -> str:
    """The precision that a model of these settings runs in on the CPU; arguments as of `open_model`.

    Raises:
        ModelNotFoundError: the manifest names no default, where one is needed.
    """
    if wanted.precision == "auto":
        return store.default_precision(runtime.name, variant)
    has_it = any((entry.role, entry.precision) == (role, wanted.precision) for entry in store.manifest.models)
    if role == "detector" and not has_it:
        # Not every number format has a detector that is good enough to ship; what was asked for is the landmarks'.
        default = store.default_precision(runtime.name, variant)
        _log.info("there is no %s detector; the detector runs %s", wanted.precision, default)
        return default
    return wanted.precision


def _find_compiled(store: ModelStore, role: str, variant: str, device: str) -> Entry:
    try:
        return store.find_compiled(role, variant)
    except ModelNotFoundError as error:
        raise DelegateError(f"device {device!r}: {error}") from None


def check_precision(wanted: ModelSettings) -> None:
    """Refuse a precision that an Edge TPU cannot run.

    Raises:
        ConfigError: of the wrong combination.
    """
    on_edgetpu = [device for device in (wanted.device, wanted.detector_device) if is_edgetpu(device)]
    if on_edgetpu and wanted.precision not in ("auto", "int8-full"):
        raise ConfigError(
            f"model.precision = {wanted.precision!r}: device {on_edgetpu[0]!r} runs int8-full only; leave it at auto, "
            "which also gives a model on the CPU the best precision there"
        )
