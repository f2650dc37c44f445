"""Fill a folder with the wheels that a target needs: wheels.py FOLDER PYTHON ARCHITECTURE, say `3.13 aarch64`.

pip judges the conditions in pyproject.toml ("python_version < '3.12'") by the Python that it runs on itself; here they
are judged for the target.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

CHECKOUT = Path(__file__).resolve().parents[2]
# glibc of Bookworm is 2.36, of Trixie 2.41; wheels for an older one run too.
GLIBC = ("2_36", "2_35", "2_34", "2_31", "2_28", "2_27", "2_26", "2_24", "2_17")


def main() -> None:
    folder, python, machine = sys.argv[1:]
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    wanted = []
    for text in project["dependencies"]:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"python_version": python}):
            wanted.append(f"{requirement.name}{requirement.specifier}")
    platforms = [f"--platform=manylinux_{glibc}_{machine}" for glibc in GLIBC] + [f"--platform=manylinux2014_{machine}"]
    short = f"cp{python.replace('.', '')}"
    # Bookworm's picamera2 was built against numpy 1: beside it that is needed, and what goes with it.
    for more in ((), ("numpy<2",)) if python == "3.11" else ((),):
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--dest", folder),
                *(f"--python-version={python}", "--implementation=cp", f"--abi={short}", "--abi=abi3", "--abi=none"),
                *platforms,
                *wanted,
                *more,
            ],
            check=True,
        )


main()
