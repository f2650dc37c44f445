"""Animals in front of backgrounds, as the score is tried on them; how many are somebody with pytest -m slow."""

from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import animal_pictures, animals, people

WHITE_ON_BLACK = np.zeros((120, 200, 3), np.uint8)


def cutout() -> np.ndarray:
    """A white square whose right half cannot be seen."""
    stamp = np.full((40, 40, 4), 255, np.uint8)
    stamp[:, 20:, 3] = 0
    return stamp


def test_what_is_transparent_shows_the_background() -> None:
    place = np.array([[1.0, 0, 30], [0, 1, 50]])
    picture = animal_pictures.pasted(WHITE_ON_BLACK, cutout(), place, np.random.default_rng(0))
    light = (picture.mean(axis=2) > 128).nonzero()
    assert (light[0].min(), light[0].max(), light[1].min(), light[1].max()) == (50, 89, 30, 49)


def test_an_animal_of_any_size_is_in_the_picture_and_the_same_each_time() -> None:
    for seed in range(20):
        picture = animal_pictures.somewhere(WHITE_ON_BLACK, cutout(), seed)
        assert picture.shape == WHITE_ON_BLACK.shape
        assert (picture > 128).any()
        assert np.array_equal(picture, animal_pictures.somewhere(WHITE_ON_BLACK, cutout(), seed))


def test_one_that_walks_is_somewhere_else_in_the_end() -> None:
    frames = list(animal_pictures.walk(WHITE_ON_BLACK, cutout(), 1, 1.0, 10))
    first, last = ((frame.mean(axis=2) > 128).nonzero()[1].mean() for frame in (frames[0], frames[-1]))
    assert len(frames) == 10
    assert abs(last - first) > 5


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["lite", "full"])
def test_few_held_out_animals_in_a_room_are_somebody(variant: str, tmp_path: Path) -> None:
    """Before the score was fitted on animals it was a quarter of the frames; docs/benchmark.md has all 63 films."""
    shares = [people.share(people.ours(path, variant)) for path in animals.films(tmp_path, step=4)]
    assert np.mean(shares) < 0.15
