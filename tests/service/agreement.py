"""Compare two results of `edge-pose predict --json`: agreement.py EXPECTED GIVEN LIMIT_PX WIDTH HEIGHT."""

import json
import sys
from pathlib import Path

import numpy as np

PERCENTILE = 95


def poses_by_frame(path: str) -> dict[tuple[str, int], list[np.ndarray]]:
    """Keypoints x, y (norm) of each person, by source and frame."""
    document = json.loads(Path(path).read_text())
    return {
        (Path(source).name, result["frame"]): [np.array(pose["keypoints"])[:, :2] for pose in result["poses"]]
        for source, results in document.items()
        for result in results
    }


def main() -> int:
    """Print how far apart they are; 1 if that is too far, or other people were found."""
    expected_file, given_file, limit_px, width, height = sys.argv[1:]
    expected, given = poses_by_frame(expected_file), poses_by_frame(given_file)
    counts = {key: (len(poses), len(given.get(key, []))) for key, poses in expected.items()}
    differing = {key: pair for key, pair in counts.items() if pair[0] != pair[1]}
    people = sum(len(poses) for poses in expected.values())
    if expected.keys() != given.keys() or differing or not people:
        print(f"other people: {differing or 'none at all'}; frames {len(expected)} and {len(given)}")
        return 1
    distances_px = np.concatenate(
        [
            np.linalg.norm((one - other) * (float(width), float(height)), axis=1)
            for key in expected
            for one, other in zip(expected[key], given[key], strict=True)
        ]
    )
    far_px = float(np.percentile(distances_px, PERCENTILE))
    print(
        f"{people} people in {len(expected)} frames, the same; distance {PERCENTILE}th percentile {far_px:.3f} px, "
        f"median {np.median(distances_px):.3f} px, largest {distances_px.max():.3f} px (at {width}x{height})"
    )
    return int(far_px > float(limit_px))


sys.exit(main())
