"""What is asked of a picamera2 camera: sensor mode, exposure, white balance, focus, flips."""

from collections.abc import Mapping, Sequence
from typing import Any

from edge.config import CameraSettings
from edge.errors import ConfigError

# A sensor mode is fast enough if it reaches this share of the rate asked for: modes are listed as 29.97 and the like.
FAST_ENOUGH = 0.98


def widest_mode(modes: Sequence[Mapping[str, Any]], fps: float) -> Mapping[str, Any]:
    """The sensor mode that sees most at the rate asked for; of equal ones the smallest, which costs least.

    Args:
        modes: picamera2's `sensor_modes`: `size`, `bit_depth`, `fps`, and `crop_limits` as x, y, width, height.
        fps: frames per second asked for; if no mode is that fast, the fastest ones are looked at.
    """
    fast = [mode for mode in modes if mode["fps"] >= FAST_ENOUGH * fps]
    if not fast:
        best = max(mode["fps"] for mode in modes)
        fast = [mode for mode in modes if mode["fps"] == best]
    return min(
        fast,
        key=lambda mode: (
            -mode["crop_limits"][2] * mode["crop_limits"][3],
            mode["size"][0] * mode["size"][1],
            abs(
                mode["bit_depth"] - 10
            ),  # 10 bits are what the ISP is fed with best: 12 take more of the bus, 8 see less
        ),
    )


def controls(asked: CameraSettings, known: set[str]) -> dict[str, Any]:
    """The controls that the settings ask for, by libcamera's names.

    Args:
        asked: the settings.
        known: names of the controls that this camera has.

    Raises:
        ConfigError: something is set that this camera cannot do.
    """
    from libcamera import controls as names

    frame_us = round(1e6 / asked.fps)
    wanted: dict[str, tuple[str, bool, Any]] = {
        "FrameDurationLimits": ("fps", False, (frame_us, frame_us)),
        "ExposureTime": ("exposure_us", asked.exposure_us > 0, asked.exposure_us),
        "AnalogueGain": ("gain", asked.gain > 0, asked.gain),
    }
    if asked.white_balance != "auto":
        value = getattr(names.AwbModeEnum, asked.white_balance.capitalize())
        wanted["AwbMode"] = ("white_balance", True, value)
    if asked.autofocus == "off":
        wanted["AfMode"] = ("autofocus", True, names.AfModeEnum.Manual)
        wanted["LensPosition"] = ("lens_position", True, asked.lens_position)
    else:
        wanted["AfMode"] = ("autofocus", False, names.AfModeEnum.Continuous)
    for control, (setting, explicit, _) in wanted.items():
        if explicit and control not in known:
            raise ConfigError(
                f"camera.{setting} = {getattr(asked, setting)!r}: this camera has no control {control}. "
                f"Leave camera.{setting} out."
            )
    automatic = {"ExposureTime", "AnalogueGain"}
    return {
        control: value
        for control, (_, explicit, value) in wanted.items()
        if control in known and (explicit or control not in automatic)
    }


def transform(asked: CameraSettings) -> Any:  # noqa: ANN401 -- libcamera has no types
    """The flips that the sensor itself is to make."""
    from libcamera import Transform

    return Transform(hflip=asked.hflip, vflip=asked.vflip)
