"""Make model inputs out of the scenes: crops of people as the pipeline would take them, and letterboxed frames.

Crops are taken round people whom the float detector finds in random windows of a picture, then turned, zoomed and
shifted a little (the ROI of a tracked person is never perfect), and lit differently. All of it is seeded.
"""

import hashlib
import inspect
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge import detector as edge_detector
from edge import roi as edge_roi
from edge.pose import Detection, Frame, Roi
from models.build import clips, manifest, upstream
from models.build.clips import Picture

Images = NDArray[np.uint8]
LANDMARK_SIDE, DETECTOR_SIDE = 256, 224


@dataclass(frozen=True)
class Sets:
    """Inputs of one scene: `crops` [n, 256, 256, 3] for landmarks, `frames` [m, 224, 224, 3] for the detector; RGB."""

    crops: Images
    frames: Images


class FloatDetector:
    """The float16 detector of this repository, on letterboxed windows of a picture."""

    def __init__(self, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 -- heavy

        path = manifest.MODELS_DIR / manifest.file_name(upstream.UPSTREAM["detector"], "float16")
        self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
        self._interpreter.allocate_tensors()
        self._outputs = {o["name"]: o["index"] for o in self._interpreter.get_output_details()}
        self._anchors = edge_detector.make_anchors()

    def find(self, picture: Picture) -> tuple[Images, list[Roi]]:
        """The letterboxed picture and the ROI of everybody in it, best first, in the picture's px."""
        frame = as_frame(picture)
        letterbox = edge_roi.whole_frame(frame)
        small = np.zeros((DETECTOR_SIDE, DETECTOR_SIDE, 3), np.uint8)
        edge_roi.sample(frame, letterbox, small, zero_border=True)
        image = small[None].astype(np.float32) / np.float32(127.5) - np.float32(1)
        self._interpreter.set_tensor(self._interpreter.get_input_details()[0]["index"], image)
        self._interpreter.invoke()
        boxes = self._interpreter.get_tensor(self._outputs["boxes"])[0]
        scores = self._interpreter.get_tensor(self._outputs["scores"]).reshape(-1)
        found = edge_detector.weighted_nms(
            *edge_detector.decode(boxes, scores, self._anchors, DETECTOR_SIDE, min_score=0.5)
        )
        rois = []
        for score, geometry in found:
            points = edge_roi.project(letterbox, geometry.reshape(-1, 2))
            rois.append(edge_roi.from_detection(Detection(score, points[:2].ravel(), points[2:])))
        return small, rois


class FloatLandmarks:
    """The lite float16 landmark model: where the pipeline would look for a person in the next frame."""

    def __init__(self, threads: int) -> None:
        from models.build import runner  # noqa: PLC0415 -- it imports this module

        name = manifest.file_name(upstream.UPSTREAM["lite"], "float16")
        self._decode = runner.decode_pose
        self._runner = runner.Runner((manifest.MODELS_DIR / name).read_bytes(), threads)

    def next_roi(self, crop: Images, roi: Roi) -> Roi:
        """The ROI after this crop, taken from `roi`; the same where the model sees nobody."""
        pose = self._decode(self._runner(crop))
        if pose.presence <= 0.5:
            return roi
        return edge_roi.from_auxiliary(edge_roi.project(roi, pose.points[33:35] / np.float32(LANDMARK_SIDE)))


def as_frame(picture: Picture) -> Frame:
    """A picture without a time, RGB."""
    return Frame(np.ascontiguousarray(picture), 0.0, 0.0, 0.0, color="RGB")


def make(
    scene: str, crops: int, frames: int, seed: int, *, augment: bool = False, disturb: bool = True, threads: int = 1
) -> Sets:
    """That many crops and frames of a scene, from the cache if it was made before.

    `disturb` takes crops as a badly followed person gives them and cuts pictures, so that people leave them; without
    it they are what the pipeline takes from whole pictures: every other one as after a detection, the rest as while
    following. `augment` also lights, blurs and covers the pictures and takes some crops of places without people.
    """
    kind = f"{augment}" if disturb else "plain"
    cached = upstream.cache_dir() / f"set-{scene}-{crops}-{frames}-{seed}-{kind}-{_origin()}.npz"
    if cached.exists():
        with np.load(cached) as arrays:
            return Sets(arrays["crops"], arrays["frames"])
    made = _Maker(scene, seed, augment=augment, disturb=disturb, threads=threads).make(crops, frames)
    np.savez(cached, crops=made.crops, frames=made.frames)
    return made


@cache
def _origin() -> str:
    """What sets are made by, in one word: another one is another set."""
    code = [Path(inspect.getfile(module)) for module in (clips, edge_detector, edge_roi)] + [Path(__file__)]
    names = [manifest.file_name(upstream.UPSTREAM[name], "float16") for name in ("detector", "lite")]
    digest = hashlib.sha256(cv2.__version__.encode())  # OpenCV's versions decode some films in other colours
    for path in code + [manifest.MODELS_DIR / name for name in names]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class _Maker:
    def __init__(self, scene: str, seed: int, *, augment: bool, disturb: bool, threads: int) -> None:
        self._name, self._augment, self._disturb = scene, augment, disturb
        self._rng = np.random.default_rng(seed)
        self._people = clips.load_scene(scene)
        self._empty = clips.load_scene("empty") if augment else []
        weights = np.array([clip.weight for clip, _ in self._people])
        self._weights = weights / weights.sum()
        self._detector = FloatDetector(threads)
        self._landmarks = None if disturb else FloatLandmarks(threads)

    def make(self, crop_count: int, frame_count: int) -> Sets:
        crops: list[Images] = []
        frames: list[Images] = []
        with tqdm(total=crop_count + frame_count, desc=f"{self._name} pictures", unit="picture") as bar:
            while len(crops) < crop_count or len(frames) < frame_count:
                window = self._window()
                small, rois = self._detector.find(window)
                if len(frames) < frame_count:
                    frames.append(self._light(small))
                for roi in rois[:2]:
                    if len(crops) < crop_count:
                        crops.append(self._light(self._crop(window, self._as_followed(window, roi))))
                if self._empty and len(crops) < crop_count and self._rng.random() < 0.06:
                    crops.append(self._light(self._crop(window, self._anywhere(window))))
                bar.n = len(crops) + len(frames)
                bar.refresh()
        return Sets(np.array(crops), np.array(frames))

    def _window(self) -> Picture:
        """A random part of a random picture; with `augment` also turned or without people."""
        rng = self._rng
        if self._empty and rng.random() < 0.12:
            pictures = self._empty[rng.integers(len(self._empty))][1]
        else:
            pictures = self._people[rng.choice(len(self._people), p=self._weights)][1]
        picture = pictures[rng.integers(len(pictures))]
        height, width = picture.shape[:2]
        part = 1.0 if not self._disturb or rng.random() < (0.3 if self._augment else 0.7) else rng.uniform(0.35, 0.95)
        w = min(width, max(96, int(part * max(width, height))))
        h = min(height, max(96, int(part * max(width, height))))
        x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
        window = picture[y : y + h, x : x + w]
        if rng.random() < 0.5:
            window = window[:, ::-1]
        if self._augment and rng.random() < 0.3:
            window = _turned(window, rng.uniform(-90, 90) if rng.random() < 0.5 else rng.normal(0, 15))
        return np.ascontiguousarray(window)

    def _as_followed(self, picture: Picture, roi: Roi) -> Roi:
        """The ROI that the crop is taken from, given the detection's."""
        if self._landmarks is None:
            return self._jitter(roi)
        return roi if self._rng.random() < 0.5 else self._landmarks.next_roi(self._crop(picture, roi), roi)

    def _jitter(self, roi: Roi) -> Roi:
        rng = self._rng
        if rng.random() < 0.3:
            return roi
        turn = rng.uniform(-180, 180) if self._augment and rng.random() < 0.1 else rng.normal(0, 10)
        side = roi.side_px * math.exp(rng.normal(0, 0.12))
        shift = rng.normal(0, 0.03, 2) * roi.side_px
        rotation = edge_roi.wrap_angle(roi.rotation_rad + math.radians(turn))
        return Roi(roi.x_px + shift[0], roi.y_px + shift[1], side, rotation)

    def _anywhere(self, picture: Picture) -> Roi:
        rng = self._rng
        height, width = picture.shape[:2]
        return Roi(rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.2, 1.2) * height, rng.normal(0, 0.3))

    def _crop(self, picture: Picture, roi: Roi) -> Images:
        crop = np.zeros((LANDMARK_SIDE, LANDMARK_SIDE, 3), np.uint8)
        edge_roi.sample(as_frame(picture), roi, crop, zero_border=False)
        return crop

    def _light(self, picture: Images) -> Images:
        """Other light, colours, sharpness, noise and things in front; most pictures get one or two of them."""
        rng = self._rng
        if not self._augment or rng.random() < 0.2:
            return picture
        x: Any = picture.astype(np.float32)
        if rng.random() < 0.6:
            x = (x - 127.5) * rng.uniform(0.5, 1.3) + 127.5 + rng.uniform(-50, 40)
        if rng.random() < 0.4:
            x = x * rng.uniform(0.8, 1.2, (1, 1, 3))
        if rng.random() < 0.1:
            x = np.repeat(x.mean(2, keepdims=True), 3, 2)
        if rng.random() < 0.2:
            x = 255 * (np.clip(x, 0, 255) / 255) ** rng.uniform(0.5, 2.0)
        if rng.random() < 0.15:
            x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.5, 2.0))
        if rng.random() < 0.2:
            x = x + rng.normal(0, rng.uniform(2, 12), x.shape)
        if rng.random() < 0.15:
            w, h = rng.integers(20, 90, 2)
            left, top = rng.integers(0, x.shape[1] - w), rng.integers(0, x.shape[0] - h)
            x[top : top + h, left : left + w] = rng.uniform(0, 255, 3)
        lit: Images = np.clip(np.round(x), 0, 255).astype(np.uint8)
        return lit


def _turned(picture: Picture, degrees: float) -> Any:  # noqa: ANN401 -- cv2's own array type
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
