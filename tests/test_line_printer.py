"""`run --print`: lines for readers who are slow, pause, stop or go."""

import fcntl
import json
import logging
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import pytest
from brokers import Mosquitto, eventually, needs_mosquitto
from conftest import read_clip
from wire import listen, sample_message

from edge import line_printer
from edge.line_printer import LinePrinter
from edge.messages import decode_pose

NOBODY = "mqtt://127.0.0.1:1"
# Linux's smallest; a message is about 2,000 bytes.
PIPE_BYTES = 4096


def start_printing(*arguments, stderr=subprocess.PIPE):
    """`run --print` into a pipe that holds two messages and that nobody reads yet."""
    command = (sys.executable, "-m", "edge", "run", "--print", *map(str, arguments))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr)
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return process


def wait_until_idle(process):
    """Until it has done nothing for longer than the last lines may take."""

    def ticks():
        return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]

    assert select.select([process.stdout], [], [], 60)[0]
    before, since_s = ticks(), time.monotonic()
    while time.monotonic() - since_s < line_printer.LAST_LINES_S + 1:
        time.sleep(0.05)
        if abs(sum(map(int, ticks())) - sum(map(int, before))) > 2:  # waiting takes a little, too
            before, since_s = ticks(), time.monotonic()


def end(process, number=signal.SIGTERM):
    """Tell it to end; returns its status, its lines that are whole, what it said and how long it took."""
    start_s = time.monotonic()
    process.send_signal(number)
    status = process.wait(20)
    took_s = time.monotonic() - start_s
    out, said = process.communicate()
    whole = [line for line in out.splitlines(keepends=True) if line.endswith(b"\n") and line.startswith(b"{")]
    return status, whole, (said or b"").decode(), took_s


@pytest.fixture(scope="module")
def pictures(clip, tmp_path_factory):
    """Ten pictures with somebody in each."""
    folder = tmp_path_factory.mktemp("pictures")
    image = next(image for number, image in enumerate(read_clip(clip)) if number == 60)
    cv2.imwrite(str(folder / "0.png"), image[250:994, 900:1768])
    for number in range(1, 10):
        shutil.copy(folder / "0.png", folder / f"{number}.png")
    return folder


@needs_mosquitto
@pytest.mark.parametrize("log", [subprocess.PIPE, subprocess.STDOUT], ids=["log elsewhere", "log goes the same way"])
def test_nobody_reading_standard_output_does_not_hold_up_what_is_published(tmp_path, clip, log):
    with Mosquitto(tmp_path / "broker") as broker, listen(broker, "edge-pose/+/pose") as reader:
        process = start_printing("--source", clip, "--realtime", "--loop", "--broker", broker.url, stderr=log)
        try:
            newest = [0]

            def many_came():
                message = reader.get(0.1)
                newest[0] = decode_pose(message.payload).seq if message else newest[0]
                return newest[0] > 60

            assert eventually(many_came, 60), newest
            status, lines, said, took_s = end(process)
        finally:
            process.kill()
    assert (status, [json.loads(line)["seq"] for line in lines]) == (0, list(range(len(lines))))
    assert took_s < 3
    assert log == subprocess.STDOUT or re.search(r"\d+ lines were left out: standard output was not read", said)


def test_of_a_recording_every_message_is_printed_however_late_it_is_read(pictures):
    process = start_printing("--source", pictures, "--broker", NOBODY)
    wait_until_idle(process)
    assert process.poll() is None
    out, said = process.communicate(timeout=20)
    assert [json.loads(line)["seq"] for line in out.splitlines()] == list(range(10))
    assert "10 messages" in said.decode()
    assert "left out" not in said.decode()
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_what_waits_for_its_reader(pictures, number):
    process = start_printing("--source", pictures, "--broker", NOBODY)
    wait_until_idle(process)
    status, _, said, took_s = end(process, number)
    assert status == 0
    assert took_s < 3
    assert "left out" in said
    assert "Traceback" not in said


def test_a_reader_that_goes_ends_run_quietly(clip):
    process = start_printing("--source", clip, "--realtime", "--loop", "--broker", NOBODY)
    assert select.select([process.stdout], [], [], 60)[0]
    process.stdout.close()
    said = process.stderr.read().decode()
    assert process.wait(20) == 0
    assert "Traceback" not in said


class Pipe:
    """Standard output as a pipe that holds one line of `line()`."""

    def __init__(self, monkeypatch):
        self.read_end, write_end = os.pipe()
        fcntl.fcntl(self.read_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        monkeypatch.setattr(sys, "stdout", os.fdopen(write_end, "w"))
        monkeypatch.setattr(line_printer, "MOST_LINES", 3)
        monkeypatch.setattr(line_printer, "LAST_LINES_S", 0.3)

    def read_into(self, numbers):
        with os.fdopen(self.read_end, "rb") as file:
            numbers.extend(int(line[:3]) for line in file)


def line(number):
    return b"%03d" % number + 3000 * b"."


def test_a_live_source_leaves_the_oldest_lines_out_and_says_so_once(monkeypatch, caplog):
    pipe = Pipe(monkeypatch)
    read = []
    with caplog.at_level(logging.WARNING), LinePrinter(threading.Event(), live=True) as printer:
        for number in range(20):
            printer(sample_message(), line(number))
        reading = threading.Thread(target=pipe.read_into, args=(read,))
        reading.start()
    sys.stdout.close()
    reading.join(10)
    assert read[-3:] == [17, 18, 19]
    assert read == sorted(set(read))
    assert len(read) < 10
    assert caplog.text.count("the oldest are left out") == 1
    assert f"{20 - len(read)} lines were left out" in caplog.text


def test_a_recording_waits_for_its_reader_until_the_end_is_wanted(monkeypatch):
    Pipe(monkeypatch)
    stop = threading.Event()
    printer = LinePrinter(stop, live=False)
    writing = threading.Thread(target=lambda: [printer(sample_message(), line(number)) for number in range(20)])
    writing.start()
    writing.join(0.5)
    assert writing.is_alive()
    stop.set()
    writing.join(1)
    assert not writing.is_alive()
    start_s = time.monotonic()
    printer.close()
    assert time.monotonic() - start_s < 1


def test_an_output_that_does_not_block_is_waited_for(monkeypatch):
    pipe, read = Pipe(monkeypatch), []
    os.set_blocking(sys.stdout.fileno(), False)
    reading = threading.Thread(target=pipe.read_into, args=(read,))
    with LinePrinter(threading.Event(), live=False) as printer:
        for number in range(3):
            printer(sample_message(), line(number))
        time.sleep(0.2)
        reading.start()
    sys.stdout.close()
    reading.join(10)
    assert read == [0, 1, 2]


def test_lines_that_cannot_be_written_are_an_error(monkeypatch):
    with open("/dev/full", "w") as full:  # noqa: PTH123 -- as standard output has it
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(OSError, match="No space left"), LinePrinter(threading.Event(), live=False) as printer:
            printer(sample_message(), line(0))
