"""People who overlap and cross in real films, as annotated in tests/benchmarks/crossing.json; pytest -m slow."""

from pathlib import Path

import pytest

from tests.benchmarks import crossing
from tests.benchmarks.people import ours

# The couple on the path, ten frames a second and one wholly behind the other, does change ids: docs/benchmark.md.
CLIPS = [one for one in crossing.crossings() if one.name != "path"]


@pytest.mark.slow
@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.name)
def test_whoever_crosses_stays_the_same(clip: crossing.Crossing, tmp_path: Path) -> None:
    figures, _ = crossing.measure(clip, crossing.write(clip, tmp_path), ours, "lite")
    assert figures["switches"] == 0
    assert figures["seen"] > 0.25
