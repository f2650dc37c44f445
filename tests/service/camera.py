"""A network camera for the booted tree, with nothing but Python: camera.py FOLDER PORT serves its JPEGs as MJPEG."""

import itertools
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FPS = 8


class Camera(BaseHTTPRequestHandler):
    pictures: tuple[bytes, ...] = ()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
        self.end_headers()
        try:
            for jpeg in itertools.cycle(self.pictures):
                head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                time.sleep(1 / FPS)
        except (BrokenPipeError, ConnectionResetError):
            return

    def log_message(self, *_words: object) -> None:
        """Keep quiet."""


def main() -> None:
    Camera.pictures = tuple(path.read_bytes() for path in sorted(Path(sys.argv[1]).glob("*.jpg")))
    ThreadingHTTPServer.daemon_threads = True
    with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Camera) as server:
        server.serve_forever()


main()
