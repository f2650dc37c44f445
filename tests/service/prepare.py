"""What goes into the tree before it boots: prepare.py FOLDER fills it with releases, their wheels, and pictures."""

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2

from edge.sample import clip_path

CHECKOUT = Path(__file__).resolve().parents[2]
# What a release is made of; models/build stays at home.
PARTS = ("edge", "systemd", "scripts", "docs", "pyproject.toml", "README.md", "LICENSE")


def replace(path: Path, pattern: str, replacement: str) -> None:
    """Change one place of a file; it must be there exactly once."""
    text, count = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE)
    assert count == 1, f"{path}: {pattern!r} found {count} times"
    path.write_text(text)


def make_source(folder: Path, version: str) -> None:
    """A copy of this checkout with another version."""
    skipped = shutil.ignore_patterns("__pycache__", "_models")
    for part in PARTS:
        if (CHECKOUT / part).is_dir():
            shutil.copytree(CHECKOUT / part, folder / part, ignore=skipped)
        else:
            shutil.copy(CHECKOUT / part, folder / part)
    (folder / "models").mkdir(parents=True)
    for path in (CHECKOUT / "models").iterdir():
        if path.is_file() and "heavy" not in path.name:  # 27 MB a release that no scenario looks at
            shutil.copy(path, folder / "models" / path.name)
    manifest = folder / "models" / "manifest.toml"
    heads, *entries = manifest.read_text().split("[[models]]")
    manifest.write_text("[[models]]".join([heads, *(entry for entry in entries if "heavy" not in entry)]))
    replace(folder / "edge" / "__init__.py", r'^__version__ = ".*"', f'__version__ = "{version}"')


def with_another_default(source: Path) -> None:
    """A good release in which a default has changed."""
    replace(source / "edge" / "config.py", r"^(    keepalive: .* = )\d+$", r"\g<1>7")


def with_truncated_models(source: Path) -> None:
    """Half of each landmark model is missing, as from a broken download."""
    for path in (source / "models").glob("pose_landmark_*.tflite"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def with_truncated_models_and_fitting_sums(source: Path) -> None:
    """Truncated before the release was made: the sums agree, so only running it tells."""
    manifest = source / "models" / "manifest.toml"
    for path in (source / "models").glob("pose_landmark_*.tflite"):
        before = path.read_bytes()
        after = before[: len(before) // 2]
        path.write_bytes(after)
        text = manifest.read_text()
        manifest.write_text(text.replace(hashlib.sha256(before).hexdigest(), hashlib.sha256(after).hexdigest()))


def that_is_never_ready(source: Path) -> None:
    """It runs, and never says so; its unit differs from the one before."""
    replace(source / "edge" / "service.py", r"^        if not self\._ready:$", "        if False:")
    unit = source / "systemd" / "edge-pose.service"
    unit.write_text("# of the release that is never ready\n" + unit.read_text())


RELEASES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "first": ("8.0.0", lambda _: None),
    "good": ("8.0.1", with_another_default),
    "truncated": ("8.0.2", with_truncated_models),
    "unloadable": ("8.0.3", with_truncated_models_and_fitting_sums),
    "never-ready": ("8.0.4", that_is_never_ready),
}


# Compiled against the system's numpy, as picamera2's own parts are: with another one it does not import.
PICAMERA2 = """\
import bottleneck


class Picamera2:
    @staticmethod
    def global_camera_info():
        return []
"""
PICAMERA2_CONTROL = """\
Package: python3-picamera2
Version: 0.0.0
Architecture: all
Depends: python3, python3-numpy, python3-bottleneck
Maintainer: nobody <nobody@example.org>
Description: stands for the real one
"""


def make_picamera2(folder: Path) -> None:
    """A Debian package that has picamera2's name and needs of numpy what it needs."""
    module = folder / "deb" / "usr" / "lib" / "python3" / "dist-packages" / "picamera2" / "__init__.py"
    control = folder / "deb" / "DEBIAN" / "control"
    for path, text in ((module, PICAMERA2), (control, PICAMERA2_CONTROL)):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", folder / "deb", folder / "picamera2.deb"],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def write_pictures(folder: Path) -> None:
    """Forty pictures of the sample clip, 640 px wide, in which somebody is to be seen."""
    folder.mkdir(parents=True)
    capture = cv2.VideoCapture(str(clip_path()))
    for number in range(160):
        more, image = capture.read()
        assert more
        if number % 4 == 0:
            cv2.imwrite(str(folder / f"{number:04}.jpg"), cv2.resize(image, (640, 360), interpolation=cv2.INTER_AREA))
    capture.release()


def main() -> None:
    """Fill the folder."""
    folder = Path(sys.argv[1])
    write_pictures(folder / "pictures")
    make_picamera2(folder)
    for name, (version, change) in RELEASES.items():
        source = folder / "releases" / name
        source.mkdir(parents=True)
        make_source(source, version)
        change(source)
        wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder / "wheels")]
        subprocess.run([*wheel, str(source)], check=True)
    for name in ("camera.py", "probe.py"):
        shutil.copy(Path(__file__).parent / name, folder / name)


if __name__ == "__main__":
    main()
