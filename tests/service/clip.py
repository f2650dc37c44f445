"""Write ten pictures and ten frames of the sample clip into a folder, 640x360: clip.py FOLDER."""

import sys
from pathlib import Path

import cv2

from edge.sample import clip_path

FIRST_FRAME, FRAMES = 60, 10
SIZE = (640, 360)
# Rows and columns of the clip, 16 to 9, in which somebody is to be seen in each of these frames.
PERSON = (slice(506, 994), slice(900, 1768))


def main() -> None:
    """Write clip.avi, and its frames in the folder pictures, each to be looked at by itself.

    The clip is lossless RGB: of other formats FFmpeg makes pixels that differ between x86 and arm64, and the comparison
    would be of its colour conversion (95th percentile 6 px with Motion JPEG).
    """
    folder = Path(sys.argv[1])
    (folder / "pictures").mkdir()
    capture = cv2.VideoCapture(str(clip_path()))
    writer = cv2.VideoWriter(str(folder / "clip.avi"), cv2.VideoWriter.fourcc(*"FFV1"), 30, SIZE)
    for number in range(FIRST_FRAME + FRAMES):
        more, image = capture.read()
        assert more
        if number >= FIRST_FRAME:
            picture = cv2.resize(image[PERSON], SIZE, interpolation=cv2.INTER_AREA)
            writer.write(picture)
            cv2.imwrite(str(folder / "pictures" / f"{number:03}.png"), picture)
    writer.release()
    capture.release()


main()
