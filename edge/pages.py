"""Give memory back that a mapped file holds and nobody reads any more."""

import contextlib
import ctypes
import mmap
from pathlib import Path


def forget(path: Path) -> None:
    """Take the file's pages out of this process's memory, wherever it is mapped read-only.

    Whoever reads them after all gets them from the file again. Where the system does not allow it they stay: it saves
    memory, nothing else depends on it.
    """
    name = str(path.resolve())
    with contextlib.suppress(OSError):
        libc = ctypes.CDLL(None)
        for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
            # 7f30eca00000-7f30eccc0000 r--s 00000000 fe:00 1234   /path/to/model.tflite
            span, rights, _offset, _device, _inode, *mapped = line.split(maxsplit=5)
            if mapped == [name] and "w" not in rights:
                start, end = (int(address, 16) for address in span.split("-"))
                libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)
