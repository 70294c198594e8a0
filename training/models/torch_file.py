"""Files of PyTorch whose bytes depend only on their content, written whole or not at all.

``torch.save`` to a path stores the path's name in the file, and reports a full disk without its reason; here it fills
memory, and the bytes are written like those of any other file.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import torch

from tinyscene.runtime.files import write_file


def write_torch(path: Path, content: Mapping[str, object]) -> None:
    """Write tensors and plain values; raises RuntimeFailure if ``path`` cannot be written."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_file(path, buffer.getvalue())
