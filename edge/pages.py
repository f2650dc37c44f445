"""Give memory back that mapped files hold in this process and that is hardly read again."""

import contextlib
import ctypes
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# 7f30eca00000-7f30eccc0000 r-xp 00000000 fe:00 1234   /path/to/library.so
_MAPPING: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \d+ *(.*)")


def forget_files() -> None:
    """Take the pages of files that are mapped read-only out of this process's memory.

    Importing a library touches most of its code, of which a running loop needs a small part; and XNNPACK has packed
    copies of a model's weights, so that the file's own are not read again. Whoever does read such a page gets it from
    the file again, without a disk as long as the system has room to cache it. Where the system does not allow it the
    pages stay: it saves memory, nothing else depends on it.
    """
    with contextlib.suppress(OSError):
        libc = ctypes.CDLL(None)
        for start, end in _unchanged(Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace")):
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def _unchanged(smaps: str) -> Iterator[tuple[int, int]]:
    """Start and end of each mapping that holds pages, and none but its file's own.

    A page that was written to is not the file's any more, and would be lost: what the dynamic linker has relocated is
    such, also where it can only be read by now.
    """
    span, of_file, resident = (0, 0), False, False
    for line in smaps.splitlines():
        name, *values = line.split()
        if mapping := _MAPPING.match(line):
            start, end, rights, path = mapping.groups()
            span, of_file = (int(start, 16), int(end, 16)), path.startswith("/") and "w" not in rights
        elif name == "Rss:":
            resident = values[0] != "0"
        elif name == "Anonymous:" and of_file and resident and values[0] == "0":
            yield span
