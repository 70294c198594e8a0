"""Print a lock of docker/locks/ for pip, which installs it with ``--no-deps --require-hashes``.

    python docker/requirements.py LOCK.txt [--without-cuda]

``--without-cuda`` omits PyTorch and the packages that only its CUDA build needs: the caller installs the CPU build of
PyTorch first, whose file differs from the one in the lock.
pip then refuses every file whose hash is not in the lock.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

CUDA = re.compile(r"(torch|triton|nvidia-[\w-]+|cuda-[\w-]+)==")


def requirements(lock: str, *, without_cuda: bool) -> str:
    """The lock, with or without PyTorch and CUDA; a requirement is a line and the indented lines after it."""
    entries = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
    return "".join(entry for entry in entries if not (without_cuda and CUDA.match(entry)))


if __name__ == "__main__":
    path, *options = sys.argv[1:]
    print(requirements(Path(path).read_text(), without_cuda="--without-cuda" in options), end="")
