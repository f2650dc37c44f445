"""MediaPipe 1.2.2's PoseLandmarker in VIDEO mode, as a contestant. Runs in an environment of its own.

Usage: python mediapipe_tasks.py CLIP STARTED_S VARIANT LANDMARKS.tflite DETECTOR.tflite

Its wheel holds no models, and the bundle that it wants must say in each model's metadata how pixels become numbers.
So the bundle is made here from the same upstream models that the project uses.
"""

import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import flatbuffers
import mediapipe
import numpy as np
from mediapipe.tasks.metadata import metadata_schema_py_generated as metadata
from mediapipe.tasks.metadata import schema_py_generated as tflite
from mediapipe.tasks.python import vision
from mediapipe.tasks.python.core.base_options import BaseOptions
from worker import Image, serve


def with_normalization(model: bytes, mean: float, deviation: float) -> bytes:
    """The model with metadata saying that its input is (pixel - mean) / deviation."""
    options = metadata.NormalizationOptionsT()
    options.mean, options.std = [mean], [deviation]
    unit = metadata.ProcessUnitT()
    unit.optionsType, unit.options = metadata.ProcessUnitOptions.NormalizationOptions, options
    image = metadata.ImagePropertiesT()
    image.colorSpace = metadata.ColorSpaceType.RGB
    content = metadata.ContentT()
    content.contentPropertiesType, content.contentProperties = metadata.ContentProperties.ImageProperties, image
    tensor = metadata.TensorMetadataT()
    tensor.processUnits, tensor.content = [unit], content
    parsed = tflite.ModelT.InitFromObj(tflite.Model.GetRootAsModel(bytearray(model), 0))
    graph = metadata.SubGraphMetadataT()
    graph.inputTensorMetadata = [tensor]
    graph.outputTensorMetadata = [metadata.TensorMetadataT() for _ in parsed.subgraphs[0].outputs]
    described = metadata.ModelMetadataT()
    described.subgraphMetadata = [graph]
    buffer = tflite.BufferT()
    buffer.data = np.frombuffer(_finished(described, b"M001"), np.uint8)
    parsed.buffers.append(buffer)
    entry = tflite.MetadataT()
    entry.name, entry.buffer = "TFLITE_METADATA", len(parsed.buffers) - 1
    parsed.metadata = [entry]
    return _finished(parsed, b"TFL3")


def _finished(table: object, identifier: bytes) -> bytes:
    builder = flatbuffers.Builder(0)
    builder.Finish(table.Pack(builder), identifier)  # type: ignore[attr-defined]
    return bytes(builder.Output())


def write_bundle(path: Path, landmarks: Path, detector: Path) -> None:
    """A .task file: an uncompressed zip of both models."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as bundle:
        bundle.writestr("pose_detector.tflite", with_normalization(detector.read_bytes(), 127.5, 127.5))
        bundle.writestr("pose_landmarks_detector.tflite", with_normalization(landmarks.read_bytes(), 0.0, 255.0))


class Tasks:
    """See `worker.Engine`."""

    rgb = True

    def __init__(self, bundle: Path) -> None:
        options = vision.PoseLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(bundle)), running_mode=vision.RunningMode.VIDEO
        )
        self._landmarker = vision.PoseLandmarker.create_from_options(options)

    def process(self, frames: Iterator[tuple[Image, float]]) -> int:
        found = 0
        for image, time_s in frames:
            picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
            found += bool(self._landmarker.detect_for_video(picture, round(time_s * 1e3)).pose_landmarks)
        return found

    def bare(self) -> None:
        raise NotImplementedError


def main(clip: str, started_s: str, variant: str, landmarks: str, detector: str) -> None:
    bundle = Path(tempfile.gettempdir()) / f"edge-pose-mediapipe-{variant}.task"
    if clip == "bundle":
        write_bundle(bundle, Path(landmarks), Path(detector))
        return
    serve(clip, float(started_s), lambda: Tasks(bundle))


if __name__ == "__main__":
    main(*sys.argv[1:])
