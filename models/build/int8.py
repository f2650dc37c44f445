"""Second half of the build: the int8 models, written from the upstream weights and the committed recipes."""

import shutil

import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelNotFoundError
from models.build import dead, person_head, residuals, segments, stacked, surgery, writer
from models.build.dead import Dropped
from models.build.flat import Model
from models.build.recipe import Recipe, recipe_path
from models.build.segments import Edges
from models.build.upstream import Upstream

PRECISIONS = ("int8", "int8-full")
# How many crops correct what is left when a landmark model is rounded: of the same scene, but drawn anew.
UNSEEN = 512
# How many pictures there are of the calibration scene, how many of them ranges and rounding see, and the draw's seed.
SCENES = {"landmarks": "people", "detector": "calibration"}
CROPS, FRAMES, SEED = 384, 512, 1
RANGE_PICTURES = {"landmarks": 384, "detector": 192}
ROUNDING_PICTURES = {"landmarks": 192, "detector": 128}


def build(model: Upstream, precision: str, float16: bytes) -> bytes:
    """The .tflite of one precision from the float16 one; raises ModelNotFoundError where there is no recipe yet."""
    prepared, recipe, factors = prepare(model, precision, float16)
    data = writer.write(prepared, recipe, precision, f"{model.name}, {precision}, edge-pose")
    return person_head.add(data, model.variant, factors)


def prepare(model: Upstream, precision: str, float16: bytes) -> tuple[Model, Recipe, NDArray[np.float32] | None]:
    """The float graph that a committed recipe is about, the recipe, and what it does to the person head's features."""
    path = recipe_path(model.variant, precision)
    if not path.exists():
        raise ModelNotFoundError(f"no recipe {path}: make it with `python -m models.build --calibrate`.")
    recipe = Recipe.load(path)
    prepared = surgery.prepare(float16, model.role, precision)
    kept = person_head.kept_channels(prepared, recipe) if model.role == "landmarks" else None
    rewrite(prepared, model.role, precision, recipe.dropped, recipe.edges)
    factors = None if kept is None else person_head.int8_factors(kept, prepared, recipe)
    return prepared, recipe, factors


def rewrite(prepared: Model, role: str, precision: str, dropped: Dropped, edges: dict[int, Edges]) -> None:
    """Leave these channels out of a prepared graph, cut its tensors at these edges, and sum what stays whole."""
    dead.drop(prepared, dropped)
    segments.cut(prepared, stacked.rewrite(prepared, edges))
    if role == "landmarks" and precision == "int8-full":
        residuals.merge(prepared, residuals.find(prepared), residuals.MOST_BYTES)


def calibrate_recipes(model: Upstream, threads: int) -> None:
    """Make a model's recipes anew from the calibration scene and save them. Minutes of CPU time.

    One that was interrupted goes on where it was (`resume`).
    """
    from models.build import calibrate, crops, resume  # noqa: PLC0415 -- they need torch, which writing does not
    from models.build.sequential import Steps  # noqa: PLC0415

    detects = model.role == "detector"
    counts = (0, FRAMES) if detects else (CROPS, 0)
    sets = crops.make(SCENES[model.role], *counts, SEED, augment=True, threads=threads)
    pictures = (sets.frames if detects else sets.crops)[: RANGE_PICTURES[model.role]]
    others = None if detects else crops.make(SCENES[model.role], UNSEEN, 0, SEED + 1, augment=True, threads=threads)
    unseen = others.crops if others else pictures[:0]
    # The gain is fitted to all cells, of which almost none has a person: it would pull the high scores down. And other
    # scales than the one of the largest weight do the detector no good.
    steps = Steps(gain=False, shrinks=(1.0,)) if detects else Steps()
    for precision in PRECISIONS:
        _, recipe = calibrate.run(model, precision, pictures, unseen, steps, ROUNDING_PICTURES[model.role])
        recipe.save(recipe_path(model.variant, precision))
    shutil.rmtree(resume.folder(model.variant), ignore_errors=True)
