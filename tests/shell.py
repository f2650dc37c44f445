"""The command line in a shell, which can close and redirect."""

import os
import subprocess
import sys


def in_bash(line: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A command line as a shell runs it."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("EDGE_POSE_")}
    line = f'edge-pose() {{ {sys.executable} -m edge "$@"; }}; {line}'
    command = ["bash", "-o", "pipefail", "-c", line]
    environment = own | environment
    return subprocess.run(
        command, capture_output=True, errors="surrogateescape", check=False, timeout=120, env=environment
    )


def said_by(done: "subprocess.CompletedProcess[str]") -> list[str]:
    """The lines on standard error, less those of the runtime and of a broker that is not there."""
    lines = done.stderr.splitlines()
    return [line for line in lines if not line.startswith(("INFO: Created", "edge-pose: WARNING: mqtt://"))]
