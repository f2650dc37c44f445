"""Fits `edge.evidence.WEIGHTS` and the models' heads: is what was looked at a person? Development only.

Usage, from the root of the repository, in the development environment (npm, apt-get and dpkg-deb for the pictures):

    python -m tests.benchmarks.fit_score [lite:int8 full:int8] [--write]

The head (`models.build.person_head`) weighs the landmark model's features, `edge.evidence` what comes out of it and all
other clues; they are fitted together. `--write` writes the heads, and with `python -m models.build --update-manifest`
they get into the models.

Looks at people, at animals and at neither, as `predict` takes them, in the pictures of `score_scenes`; no scene here
scores anything else. People count for 0.6 of what is fitted, and the other two kinds for 0.2 each. Printed: the
weights to put into `edge/evidence.py`; by cross-validation (folds of whole pictures) how many people are found, and how
many animals taken for people, where as many pictures without people show somebody as MediaPipe's do; what each group
of clues is worth, by leaving it out; and what the weights do on held-out pictures.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.config import TrackerSettings
from edge.evidence import LENGTHS, PARTS
from edge.logistic import logit
from models.build.int8 import PRECISIONS
from models.build.person_head import Head, head_path
from tests.benchmarks import score_scenes
from tests.benchmarks.score_looks import CLUES, Looks, Seen

MODELS: Final = ("lite:int8", "full:int8")
# Columns: the detector's logit, the clues, then the features.
COLUMNS: Final = ("detector", *CLUES)
GROUPS: Final = {
    "detector": ["detector"],
    "presence": ["presence"],
    "ankles below knees": ["ankles below knees"],
    "peaks": [f"peak of {part}" for part in PARTS],
    "presences of parts": [f"presence of {part}" for part in PARTS],
    "lengths": list(LENGTHS),
}
PEAKS: Final = [name in GROUPS["peaks"] for name in COLUMNS]
# MediaPipe 1.2.2 full reports somebody in this share of the pictures without people that are fitted on.
FALSE_SHARE: Final = 0.035
# Of what is fitted: people, pictures without anybody, animals.
SHARES: Final = (0.6, 0.2, 0.2)
FOLDS: Final = 5
# How strongly weights are held down: of the clues, and of the features, of which there are hundreds.
RIDGE, FEATURES_RIDGE = 3e-3, 0.2
# A feature that hardly ever differs (they are 0 to 6) counts as if it did by this much: it would get a weight beside
# which eight bits have nothing left for the others, for what a few pictures say.
LEAST_SPREAD = 0.05


def fit(
    rows: NDArray[np.float64], kinds: NDArray[np.int_], ridges: NDArray[np.float64], least_spreads: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Logistic regression by Newton's method, each kind with its share of the weight: the bias, then each column."""
    mean, spread = rows.mean(axis=0), np.hypot(rows.std(axis=0), least_spreads)
    columns = np.column_stack([np.ones(len(rows)), (rows - mean) / spread])
    people = kinds == 0
    weight = len(kinds) * (np.array(SHARES) / np.bincount(kinds, minlength=len(SHARES)))[kinds]
    ridge = len(people) * np.array([0.0, *ridges])
    found = np.zeros(columns.shape[1])
    for _ in range(100):
        probability = 1 / (1 + np.exp(-columns @ found))
        gradient = columns.T @ (weight * (probability - people)) + ridge * found
        curvature = (columns.T * (weight * probability * (1 - probability))) @ columns + np.diag(ridge + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        found -= step
        if np.abs(step).max() < 1e-6:
            break
    slopes = found[1:] / spread
    return np.array([found[0] - slopes @ mean, *slopes])


def rows_of(seen: Sequence[Seen]) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    """What is fitted, and of which kind each row is: of each person the clearest look, of nobody every one."""
    rows, kinds = [], []
    for one in seen:
        if one.kind:
            rows += list(one.clues)
            kinds += [one.kind] * len(one.clues)
        elif one.right.any():
            rows.append(max(one.clues[one.right], key=lambda row: row[: len(COLUMNS)][PEAKS].mean()))
            kinds.append(0)
    return np.array(rows), np.array(kinds)


def fitted(seen: Sequence[Seen], kept: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The bias, then weights of some of the columns, the others 0."""
    rows, kinds = rows_of(seen)
    is_clue = np.arange(len(kept)) < len(COLUMNS)
    ridges, least_spreads = np.where(is_clue, RIDGE, FEATURES_RIDGE), np.where(is_clue, 1e-6, LEAST_SPREAD)
    weights = np.zeros(len(kept) + 1)
    weights[np.concatenate([[True], kept])] = fit(rows[:, kept], kinds, ridges[kept], least_spreads[kept])
    return weights


def cross_validated(seen: Sequence[Seen], kept: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Shares of people found and of animals taken for them at `FALSE_SHARE`, and from which log-odds on that is."""
    names = sorted({one.cut.picture for one in seen})
    folds = {name: number % FOLDS for number, name in enumerate(names)}
    likely: list[list[float]] = [[], [], []]
    for number in range(FOLDS):
        weights = fitted([one for one in seen if folds[one.cut.picture] != number], kept)
        for one in seen:
            if folds[one.cut.picture] == number:
                likely[one.kind].append(one.best(weights))
    threshold = sorted(likely[1], reverse=True)[int(FALSE_SHARE * len(likely[1]))]
    people, animals = (float(np.mean(np.array(likely[kind]) > threshold)) for kind in (0, 2))
    return people, animals, threshold


def head_of(looks: Looks, weights: NDArray[np.float64]) -> Head:
    """The head that gives the features' share of the log-odds, 0 in the mean of what was fitted."""
    slopes = weights[1 + len(COLUMNS) :]
    features = rows_of(looks.seen)[0][:, len(COLUMNS) :]
    bias = -float(features.mean(axis=0) @ slopes)
    means, cells = features @ slopes + bias, np.concatenate(looks.cells) @ slopes + bias
    of_each = np.zeros(len(looks.kept), np.float32)
    of_each[looks.kept] = slopes
    return Head(of_each, bias, (cells.min(), cells.max()), (means.min(), means.max()))


def source(name: str, weights: NDArray[np.float64], head: Head, alone: float) -> str:
    """The weights as `edge/evidence.py` has them."""
    bias = weights[0] - head.bias
    detector, presence, *clues = (f"{value:.2f}" for value in weights[1 : len(COLUMNS) + 1])
    ends = np.cumsum([1, len(PARTS), len(PARTS), len(LENGTHS)])
    first, *others = map(list, np.split(clues, ends[:-1]))
    groups = ", ".join(f"({', '.join(group)})" for group in ([presence, "1.0", *first], *others))
    return f"{name}: Weights(bias={bias:.2f}, detector={detector}, clues=_clues({groups}), alone={alone:.1f})"


def report(looks: Looks, held_out: Looks, *, write: bool) -> None:
    """Print everything about one model."""
    count = len(COLUMNS) + np.count_nonzero(looks.kept)
    everything = np.ones(count, bool)
    weights = fitted(looks.seen, everything)
    head = head_of(looks, weights)
    found, taken, threshold = cross_validated(looks.seen, everything)
    alone = max(threshold - logit(TrackerSettings().min_score), 0.0)
    print(source(f'"{looks.variant}"', weights, head, alone))
    (low, high), (lowest, highest) = head.means, head.cells
    print(f"  the head gives {low:.1f} to {high:.1f}, single cells {lowest:.1f} to {highest:.1f}")
    if write:
        head.save(head_path(looks.variant))
    people, empty, animals = ([one for one in looks.seen if one.kind == kind] for kind in range(3))
    seen_at_all = np.mean([one.right.any() for one in people])
    print(
        f"  {len(people)} views of people, {seen_at_all:.3f} of them seen at all; "
        f"{len(empty)} of nobody, {len(animals)} of animals"
    )
    print(
        f"  cross-validated: {found:.3f} found and {taken:.3f} of animals at {FALSE_SHARE:.3f} false, "
        f"which is log-odds {threshold:.2f}"
    )
    names = np.array([*COLUMNS, *["features"] * (count - len(COLUMNS))])
    for name, group in (GROUPS | {"features": ["features"]}).items():
        found, taken, _ = cross_validated(looks.seen, ~np.isin(names, group))
        print(f"  without {name}: {found:.3f} found, {taken:.3f} of animals")
    for limit in (0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95, 0.98):
        shares = [
            np.mean([one.best(weights) >= logit(limit) for one in held_out.seen if one.kind == kind])
            for kind in range(3)
        ]
        print(
            f"  held out, from {limit:.2f} on: {shares[0]:.3f} of people found, {shares[1]:.3f} of empty pictures and "
            f"{shares[2]:.3f} of animals false"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit the models that are named, or all."""
    parser = argparse.ArgumentParser(description="The score's weights.")
    parser.add_argument("models", nargs="*", default=MODELS, help="VARIANT:PRECISION, as in lite:int8")
    parser.add_argument("--write", action="store_true", help="write the heads for models/build")
    args = parser.parse_args(arguments)
    for model in args.models:
        if model.partition(":")[2] not in PRECISIONS:
            parser.error(f"{model}: expected VARIANT:PRECISION, the precision one of {', '.join(PRECISIONS)}")
    cv2.setNumThreads(1)
    for model in args.models:
        variant, _, precision = model.partition(":")
        looks, held_out = Looks(variant, precision), Looks(variant, precision)
        for scenes in (score_scenes.annotated, score_scenes.empty, score_scenes.animals):
            for kept, aside in ((looks, False), (held_out, True)):
                for cut in scenes(held_out=aside):
                    kept.add(cut)
        for cut in score_scenes.walkers():
            looks.add(cut)
        looks.treadmill()
        report(looks, held_out, write=args.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
