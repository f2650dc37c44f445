"""A configuration file's bytes: also from a pipe, but never without end."""

import os
import select
import time
from pathlib import Path
from typing import Final

from edge.errors import ConfigError

# Far more than any configuration has: /dev/zero and a film given by mistake are told from one.
MOST_BYTES: Final = 1_000_000
# What comes through a pipe, as from `--config <(...)`, is there by then; into a named one perhaps nobody writes.
PIPE_TIMEOUT_S: Final = 10.0


def read_file(path: Path) -> bytes:
    """All of a file, or of what comes through a pipe.

    Raises:
        OSError: it is not there or cannot be read.
        ConfigError: it is too long, or has no end in time.
    """
    deadline_s = time.monotonic() + PIPE_TIMEOUT_S
    content = b""
    # A named pipe into which nobody writes would not even open otherwise.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        while len(content) <= MOST_BYTES:
            if not select.select([descriptor], [], [], max(0.0, deadline_s - time.monotonic()))[0]:
                raise ConfigError(
                    f"{path}: the configuration did not come within {PIPE_TIMEOUT_S:.0f} s; is it a file?"
                )
            more = os.read(descriptor, MOST_BYTES)
            if not more:
                return content
            content += more
    finally:
        os.close(descriptor)
    raise ConfigError(f"{path}: more than {MOST_BYTES:,} bytes: not a configuration file")
