"""Why picamera2 cannot be seen from this Python environment, and the command that mends it."""

import platform
import sys
from pathlib import Path

SYSTEM_PACKAGES = Path("/usr/lib/python3/dist-packages")


def explain_missing_picamera2(error: Exception) -> str:
    """What went wrong with `import picamera2` in this environment, and the exact command that mends it.

    Raspberry Pi OS ships picamera2 and libcamera's Python module for the system's own Python only: they are not on
    PyPI in working order, and a virtual environment sees them only if it was told to look at the system's packages.
    """
    inside = sys.prefix != sys.base_prefix
    if not (SYSTEM_PACKAGES / "picamera2").is_dir():
        return (
            f"picamera2 is not installed ({error}). On Raspberry Pi OS: "
            "sudo apt install -y --no-install-recommends python3-picamera2"
            + (f" && {_see_system()}" if inside and not _sees_system() else "")
        )
    system = system_python()
    if system and system != sys.version_info[:2]:
        place = sys.prefix if inside else ".venv"
        return (
            f"picamera2 is installed for the system's Python {system[0]}.{system[1]}, and this is Python "
            f"{platform.python_version()}: /usr/bin/python3 -m venv --clear --system-site-packages {place}, "
            "then install edge-pose into it again"
        )
    if inside and not _sees_system():
        return (
            "picamera2 is installed, but this virtual environment does not look at the system's packages: "
            f"{_see_system()}"
        )
    if "numpy" in str(error):
        wanted = "numpy<2" if sys.version_info < (3, 12) else "numpy>=2"
        return f"picamera2 was built against another numpy ({error}): {sys.executable} -m pip install '{wanted}'"
    return (
        f"picamera2 is installed but does not start ({error}): "
        "sudo apt install -y --reinstall python3-picamera2 python3-libcamera"
    )


def _see_system() -> str:
    return (
        "sed -i 's/^include-system-site-packages.*/include-system-site-packages = true/' "
        f"{Path(sys.prefix) / 'pyvenv.cfg'}"
    )


def _sees_system() -> bool:
    return str(SYSTEM_PACKAGES) in sys.path


def system_python() -> tuple[int, int] | None:
    """Version of the system's own Python, from the name that /usr/bin/python3 links to."""
    name = Path("/usr/bin/python3").resolve().name.removeprefix("python")
    major, _, minor = name.partition(".")
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None
