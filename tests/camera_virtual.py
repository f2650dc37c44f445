"""Real picamera2 on real libcamera's virtual camera: what scripts/test-picamera2 needs beside the product.

The virtual camera is no Raspberry Pi: it has no sensor modes and no /dev/dma_heap for picamera2's own allocator. So
Picamera2 is made with libcamera's allocator, through the product's one seam for that, `make_camera`.
"""

import os
import sys
import types
from typing import Any

import pytest

from edge import camera_picamera2
from edge.camera_list import picamera2_problem

VIRTUAL = "EDGE_POSE_VIRTUAL_CAMERA"


def missing_picamera2() -> str:
    """Why picamera2 cannot be used here; empty if it can."""
    if VIRTUAL in os.environ:
        without_display()
    problem = picamera2_problem()
    return f"{problem}; scripts/test-picamera2 runs it on a virtual camera" if problem else ""


def without_display() -> None:
    """A stand-in for pykms, Raspberry Pi OS's module for displays, which picamera2 imports and never uses here."""

    class PixelFormat:
        def __getattr__(self, name: str) -> str:
            return name

    module = types.ModuleType("pykms")
    module.PixelFormat = PixelFormat()  # type: ignore[attr-defined]
    sys.modules.setdefault("pykms", module)


class Faults:
    """What the virtual camera is to suffer from.

    Attributes:
        silent: pictures get lost between libcamera and picamera2, as from a camera whose cable came loose.
        opened: how many cameras have been made.
    """

    silent = False
    opened = 0


def use_virtual_camera(monkeypatch: pytest.MonkeyPatch, faults: Faults | None = None) -> bool:
    """Make Picamera2 objects that work on the virtual camera; False on a machine with real cameras."""
    if VIRTUAL not in os.environ:
        return False
    monkeypatch.setattr(
        camera_picamera2, "make_camera", lambda number, _tuning: virtual_camera(number, faults or Faults())
    )
    return True


def virtual_camera(number: int, faults: Faults) -> Any:
    from picamera2 import Picamera2
    from picamera2.allocators.libcameraallocator import LibcameraAllocator

    class VirtualCamera(Picamera2):  # type: ignore[misc]
        def _get_raw_modes(self) -> list[dict[str, Any]]:
            return [{"format": "SBGGR8", "size": (640, 480)}]

        @property
        def _requests(self) -> list[Any]:
            """Where picamera2's listening thread leaves what libcamera completed: everything passes here."""
            return self._arrived

        @_requests.setter
        def _requests(self, requests: list[Any]) -> None:
            # Kept out as they arrive: this camera paces nothing, and would make more between a look here and the next.
            # They do not go back to the camera either: it runs dry, and only a new one will do.
            self._arrived = [] if faults.silent else requests

    allocator = LibcameraAllocator(None)
    camera = VirtualCamera(number, allocator=allocator)
    allocator.camera = camera.camera
    faults.opened += 1
    return camera
