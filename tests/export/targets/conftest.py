"""A Python for workers that is not one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyscene.export.targets.worker import LocalPython


@pytest.fixture
def crashing(tmp_path: Path) -> LocalPython:
    """A Python in which every engine dies as TFLite Micro does on a buffer that does not exist."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'loading the model' >&2\nkill -SEGV $$\n")
    python.chmod(0o755)
    return LocalPython(python)
