"""An MJPEG camera over HTTP: camera_mjpeg_server.py PORT FPS. Of /cam?junk some parts are no pictures."""

import itertools
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
from camera_picture import HEIGHT, WIDTH, now_code, picture

JUNK_EVERY = 10


class Camera(BaseHTTPRequestHandler):
    fps = 15.0

    def do_GET(self) -> None:
        if not self.path.startswith("/cam"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
        self.end_headers()
        due_s = time.monotonic()
        for number in itertools.count():
            image = np.frombuffer(picture(now_code()), np.uint8).reshape(HEIGHT, WIDTH, 3)
            jpeg = cv2.imencode(".jpg", image)[1].tobytes()
            if "junk" in self.path and number % JUNK_EVERY == JUNK_EVERY - 1:
                jpeg = bytes(range(256)) * 20
            head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")
            due_s = max(due_s + 1 / self.fps, time.monotonic() - 1)
            time.sleep(max(0.0, due_s - time.monotonic()))

    def log_message(self, *_words: object) -> None:
        """Keep quiet."""

    def handle(self) -> None:
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            return


def main() -> None:
    Camera.fps = float(sys.argv[2])
    cv2.setNumThreads(1)
    ThreadingHTTPServer.daemon_threads = True
    with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Camera) as server:
        print("ready", flush=True)
        server.serve_forever()


main()
