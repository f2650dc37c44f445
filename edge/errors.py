"""Every error that a user can cause or meet, each also a standard-library type.

A message says what was given, what was expected and what to do. `exit_status` is what the command line returns: 2 for a
command line that makes no sense, 78 for a setting that is wrong or names something that is not there (a model, a
runtime, a certificate...), wherever it was set, and 1 for what may be otherwise at the next attempt.
"""

import threading


class EdgePoseError(Exception):
    """Base of all errors of this package."""

    exit_status = 1


class UsageError(EdgePoseError, ValueError):
    """A command line that makes no sense."""

    exit_status = 2


class ConfigError(EdgePoseError, ValueError):
    """A setting that is unknown, of the wrong type or out of range, or that names something that is not there.

    The systemd unit does not restart on its status, because the next start would find the same.
    """

    exit_status = 78


class SourceError(EdgePoseError, OSError):
    """A camera, stream or file that does not open, or that stops giving frames."""


class SourceNotFoundError(SourceError, FileNotFoundError):
    """A file or device that is not there."""


class CameraHungError(SourceError):
    """A camera whose driver has not returned from a call: nothing else can use it until `thread` ends."""

    def __init__(self, message: str, thread: threading.Thread) -> None:
        super().__init__(message)
        self.thread = thread


class UnreadableMediaError(SourceError):
    """A file that is there but holds no picture or video that can be decoded."""


class ModelError(EdgePoseError, RuntimeError):
    """A model that cannot be loaded or run."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """A model that the manifest does not name, or whose file is missing: the settings ask for what is not there."""

    exit_status = ConfigError.exit_status


class ModelChecksumError(ModelError):
    """A model file whose SHA-256 is not the manifest's."""


class DelegateError(ModelError):
    """An accelerator that is missing, refuses the model, or fails while running."""


class BrokerError(EdgePoseError, ConnectionError):
    """An MQTT broker that cannot be reached or refuses."""


class BrokerRefusedError(BrokerError):
    """A broker that answers, but does not let this client in: user name, password, certificate or protocol."""


class MessageError(EdgePoseError, ValueError):
    """A message that does not follow the wire format."""


class MissingDependencyError(EdgePoseError, ImportError):
    """An optional package that is not installed; the message holds the command that installs it."""
