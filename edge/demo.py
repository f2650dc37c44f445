"""The command `demo`: the main job on a sample clip, with a broker of its own and a subscriber that prints."""

import logging
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge import sample
from edge.config import Settings
from edge.demo_broker import DemoBroker
from edge.draw import check_picture_name, draw_poses, upright_bgr, write_picture
from edge.errors import BrokerError, EdgePoseError
from edge.estimator import Estimate
from edge.messages import PoseMessage
from edge.output import check_folder
from edge.pipeline import Controls, Figures
from edge.pose import KEYPOINT_NAMES, Frame
from edge.publisher import Publisher
from edge.run import run_loop, stop_on_signals
from edge.streams import complain
from edge.subscriber import Subscriber
from edge.topics import Topics

SHOWN_JOINTS = tuple(KEYPOINT_NAMES.index(name) for name in ("nose", "left_wrist", "right_wrist", "left_ankle"))
CONNECT_TIMEOUT_S = 10.0
# After the loop has ended, messages that are still on their way may take this long.
LAST_MESSAGE_S = 1.0


def demo(settings: Settings, picture: Path) -> int:
    """Run the demo.

    Args:
        settings: the source, the models; broker and device name are the demo's own.
        picture: where the picture with a skeleton is written.

    Returns:
        Exit status: 0 if pose messages arrived, 1 if none did.

    Raises:
        UsageError: the picture's folder is not there, or its name is not one of a picture.
        EdgePoseError: the source, a model or the broker fails.
    """
    check_picture_name(picture, f"--picture {picture}")
    check_folder(picture, f"--picture {picture}")
    # What arrives is the demo's output; the log of a quiet connection would only be in its way.
    logging.getLogger("edge").setLevel(logging.WARNING)
    if settings.camera.source == "sample":
        sample.clip_path(say=print)
    with DemoBroker() as broker:
        mqtt = msgspec.structs.replace(settings.mqtt, broker=broker.url, device_name="demo", protocol="3.1.1")
        settings = msgspec.structs.replace(settings, mqtt=mqtt)
        print(f"A broker of our own listens at {broker.url}; this program publishes to it and subscribes to it.")
        print(f"Models: {settings.model.model}. Topic: {Topics.of(mqtt).pose}\n")
        best = BestPicture()
        with Subscriber(mqtt, [Topics.of(mqtt).pose]) as subscriber, printed(subscriber) as printer:
            controls = Controls(max_fps=settings.pipeline.max_fps)
            stop_on_signals(controls)
            figures = run_loop(settings, controls, observers=[best.see], started=Started(subscriber))
    _summary(figures, printer)
    if saved := best.save(picture):
        print(f"A picture with the skeleton drawn: {saved}")
    if settings.camera.source == "sample":
        print(f"The clip: {sample.CREDIT}.")
    return 0 if printer.received else 1


class Started:
    """Waits until both ends of the demo are connected, so that the first frame's message is seen.

    Raises:
        BrokerError: they are not within `CONNECT_TIMEOUT_S`.
    """

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber

    def __call__(self, publisher: Publisher) -> None:
        """Wait."""
        end_s = time.monotonic() + CONNECT_TIMEOUT_S
        ready = self._subscriber.subscribed.wait(CONNECT_TIMEOUT_S)
        while ready and publisher.state.phase != "connected" and time.monotonic() < end_s:
            time.sleep(0.01)
        if not ready or publisher.state.phase != "connected":
            raise BrokerError(f"the demo's own broker does not answer: {publisher.state}")


class Printer(threading.Thread):
    """Prints pose messages as they arrive at a subscriber, a line each."""

    def __init__(self, subscriber: Subscriber) -> None:
        super().__init__(name="demo-printer", daemon=True)
        self.received = 0
        self.ending = threading.Event()
        self._subscriber = subscriber
        self._arrivals: deque[float] = deque(maxlen=30)

    def run(self) -> None:
        """Print until `ending` is set and nothing more comes."""
        while True:
            ending = self.ending.is_set()
            message = self._subscriber.get_pose(LAST_MESSAGE_S if ending else 0.2)
            if message is not None:
                self.received += 1
                self._arrivals.append(time.monotonic())
                print(self._line(message), flush=True)
            elif ending:
                return

    def _line(self, message: PoseMessage) -> str:
        elapsed_s = self._arrivals[-1] - self._arrivals[0]
        rate = f"{(len(self._arrivals) - 1) / elapsed_s:5.1f} fps" if elapsed_s > 0 else "        "
        people = len(message.poses)
        line = (
            f"#{message.seq:<4} {rate}  {message.latency_ms:5.1f} ms  {people} {'person' if people == 1 else 'people'}"
        )
        for pose in message.poses:
            joints = (
                f"{KEYPOINT_NAMES[i]} {pose.keypoints[i][0]:.2f} {pose.keypoints[i][1]:.2f}" for i in SHOWN_JOINTS
            )
            line += f"  | {pose.source:<8} " + "  ".join(joints)
        return line


@contextmanager
def printed(subscriber: Subscriber) -> Iterator[Printer]:
    """Print what arrives at the subscriber while the block runs, and until its last message has come."""
    printer = Printer(subscriber)
    printer.start()
    try:
        yield printer
    finally:
        printer.ending.set()
        printer.join()


class BestPicture:
    """Keeps the frame in which a person is seen most clearly."""

    def __init__(self) -> None:
        self._clarity = 0.0
        self._picture: NDArray[np.uint8] | None = None

    def see(self, frame: Frame, estimate: Estimate) -> None:
        """Look at one more frame; it is copied if it is clearly better than the best so far."""
        clarity = max((float(pose.keypoints_px[:, 3].mean()) for pose in estimate.poses), default=0.0)
        if clarity > self._clarity + 0.02:
            self._clarity = clarity
            self._picture = upright_bgr(frame)
            draw_poses(self._picture, estimate.poses, regions=True)

    def save(self, path: Path) -> Path | None:
        """Write the picture; a folder that cannot be written is replaced by one for temporary files.

        Raises:
            EdgePoseError: nor can that one.
        """
        if self._picture is None:
            return None
        try:
            write_picture(path, self._picture)
        except EdgePoseError as error:
            complain(str(error))
            path = _elsewhere()
            write_picture(path, self._picture)
        return path.absolute()


def _elsewhere() -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="edge-pose-")) / "demo.jpg"
    except OSError as error:
        raise EdgePoseError(f"no folder for the picture can be made either: {error.strerror}") from None


def _summary(figures: Figures, printer: Printer) -> None:
    print(f"\n{figures.frames} frames, somebody in {figures.frames_with_people} of them.")
    print(f"{printer.received} pose messages arrived over MQTT, of {figures.messages} published.")
    share = figures.share_without_detection()
    if share is not None:
        print(
            f"The detector ran on {figures.frames_detected} of the {figures.frames_with_people} frames with people: "
            f"{share:.1%} needed no detection."
        )
    if figures.latency_ms:
        print(f"From the decoded frame to its message: {median(figures.latency_ms):.1f} ms (median).")
