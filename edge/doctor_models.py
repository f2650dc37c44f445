"""What `doctor` finds out about the models: their files, and whether they run where the settings say.

Models for an Edge TPU are tried in a process of their own: a device that hangs, or a library that ends the process, is
a line of the doctor's and not its end.
"""

import sys
import time
from collections.abc import Iterator
from typing import Final

import msgspec

from edge.config import Settings
from edge.edgetpu import is_edgetpu
from edge.edgetpu_probe import run_apart
from edge.errors import ConfigError, DelegateError, MissingDependencyError, ModelError, ModelNotFoundError
from edge.estimator import PoseEstimator
from edge.finding import Finding, ok, problem, warning
from edge.runtime import Model

# Loading both models for an Edge TPU, and running each twice: seconds, and half a minute where its firmware is loaded.
TIMEOUT_S: Final = 90.0


def models(settings: Settings, timeout_s: float = TIMEOUT_S) -> Iterator[Finding]:
    """Load the models that the settings name, sums checked, and run each.

    Args:
        settings: [model] is read.
        timeout_s: how long that may take on an Edge TPU.
    """
    devices = list(filter(is_edgetpu, (settings.model.device, settings.model.detector_device)))
    if not devices:
        yield from try_models(settings)
        return
    done = run_apart(["edge.doctor_models"], "running the models", timeout_s, msgspec.json.encode(settings))
    if not isinstance(done, str):
        yield problem("models", f"{devices[0]}: {done.text}", done.mend)
        return
    yield from msgspec.json.decode(done.splitlines()[-1], type=list[Finding])


def try_models(settings: Settings) -> Iterator[Finding]:
    """The same, in this process."""
    try:
        estimator = PoseEstimator(settings)
        estimator.warm_up()
        start_s = time.perf_counter()
        estimator.warm_up()
        elapsed_ms = (time.perf_counter() - start_s) * 1e3
    except (MissingDependencyError, ConfigError) as error:
        yield problem("models", str(error), "do as it says")
        return
    except DelegateError as error:
        yield problem("models", str(error), 'do as it says, or set model.device = "cpu"')
        return
    except ModelNotFoundError as error:
        yield problem("models", str(error), "do as it says, or set model.model and model.precision to what is there")
        return
    except ModelError as error:
        yield problem(
            "models", str(error), "`edge-pose models verify` names each damaged file; install edge-pose again"
        )
        return
    loaded = (estimator.detector_model, estimator.landmark_model)
    text = f"{' and '.join(map(_describe, loaded))}, by {estimator.runtime.name} {estimator.runtime.version}"
    yield ok("models", f"{text}; sums right; {elapsed_ms:.0f} ms for one run of both")
    for reason in dict.fromkeys(model.fallback for model in loaded if model.fallback):
        yield warning("models", f"the CPU runs instead, as model.fallback allows: {reason}", "do as it says")


def _describe(model: Model) -> str:
    made = model.entry.compilation
    where = f" ({made.edgetpu_ops} operators there, {made.cpu_ops} on the CPU)" if made else ""
    return f"{model.entry.name} {model.entry.precision} on {model.device}{where}"


def main() -> int:
    """The child: settings come in as JSON, findings go out as JSON, in the last line."""
    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=Settings)
    sys.stdout.write(f"{msgspec.json.encode(list(try_models(settings))).decode()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
