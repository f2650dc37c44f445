"""What the doctor finds, and how it asks the system's own programs."""

import shutil
import subprocess
from typing import Final, Literal

import msgspec

ANSWER_TIMEOUT_S: Final = 5.0


class Finding(msgspec.Struct, frozen=True):
    """One line of `edge-pose doctor`.

    Attributes:
        check: what was looked at.
        state: `problem` would stop `run`; `warning` would not, but is no good either.
        text: what there is.
        mend: the exact command or change that mends it; empty where nothing needs mending.
    """

    check: str
    state: Literal["ok", "warning", "problem"]
    text: str
    mend: str = ""


def ok(check: str, text: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", text)


def warning(check: str, text: str, mend: str) -> Finding:
    """`run` works, but not as well as it could."""
    return Finding(check, "warning", text, mend)


def problem(check: str, text: str, mend: str) -> Finding:
    """`run` does not work."""
    return Finding(check, "problem", text, mend)


def ask(*command: str) -> str:
    """What a command prints; empty if it is not there, fails or takes too long."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
