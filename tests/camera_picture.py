"""The picture that every test camera shows: red on the left, blue on the right, and the moment of its making in bars.

It is written in plain Python, because the RTSP server runs in the system's Python, where numpy need not be.
"""

import time

WIDTH, HEIGHT = 640, 480
BITS = 20
BAR_PX = WIDTH // BITS
BARS_PX = 96  # the top rows hold the bars
RED, BLUE = b"\x00\x00\xff", b"\xff\x00\x00"  # BGR
BLACK, WHITE = b"\x00\x00\x00", b"\xff\xff\xff"


def now_code() -> int:
    """The machine's monotonic clock in milliseconds, as far as it goes into the bars: 17 minutes."""
    return time.monotonic_ns() // 1_000_000 % (1 << BITS)


def picture(code: int) -> bytes:
    """A picture in BGR, three bytes a pixel, whose bars say `code`."""
    bars = b"".join((WHITE if code >> bit & 1 else BLACK) * BAR_PX for bit in range(BITS))
    half = WIDTH // 2
    return bars * BARS_PX + (RED * half + BLUE * half) * (HEIGHT - BARS_PX)


def age_ms(code: int) -> int:
    """How long ago a picture with this code was made."""
    return (now_code() - code) % (1 << BITS)
