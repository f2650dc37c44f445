"""People who overlap and cross in real films, as annotated in tests/benchmarks/crossing.json; pytest -m slow."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.benchmarks import crossing
from tests.benchmarks.people import ours

# The couple on the path, ten frames a second and one wholly behind the other, does change ids: docs/benchmark.md.
CLIPS = [one for one in crossing.crossings() if one.name != "path"]


LITE, FULL = "lite", "full"
Measured = Callable[[crossing.Crossing, str], dict[str, Any]]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """The figures of a clip and a model; each is followed once, however many tests ask."""
    found: dict[tuple[str, str], dict[str, Any]] = {}

    def measure(clip: crossing.Crossing, variant: str) -> dict[str, Any]:
        if (clip.name, variant) not in found:
            path = crossing.write(clip, tmp_path_factory.mktemp("clip"))
            found[clip.name, variant] = crossing.measure(clip, path, ours, variant)[0]
        return found[clip.name, variant]

    return measure


def every_clip(clip_of_lite: str, why: str) -> pytest.MarkDecorator:
    """All clips with both models; the named one is known to fail with lite."""
    known = pytest.mark.xfail(strict=True, reason=f"{why}: docs/benchmark.md")
    return pytest.mark.parametrize(
        ("clip", "variant"),
        [
            pytest.param(clip, variant, marks=known if (clip.name, variant) == (clip_of_lite, LITE) else ())
            for clip in CLIPS
            for variant in (LITE, FULL)
        ],
        ids=lambda value: value if isinstance(value, str) else value.name,
    )


# A man in black is behind a woman in red when her track slides onto him.
@pytest.mark.slow
@every_clip("sign", "with lite an id goes over for half a second")
def test_whoever_crosses_stays_the_same(measured: Measured, clip: crossing.Crossing, variant: str) -> None:
    assert measured(clip, variant)["switches"] == 0


# Of the row of men whom the cyclist passes lite finds the last one late: MediaPipe sees 27 % of the positions.
@pytest.mark.slow
@every_clip("cyclist", "lite sees 22 % of the cyclist's clip")
def test_whoever_crosses_is_seen(measured: Measured, clip: crossing.Crossing, variant: str) -> None:
    assert measured(clip, variant)["seen"] > 0.25
