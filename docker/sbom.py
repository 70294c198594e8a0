"""Write bills of materials in CycloneDX 1.6 (JSON) into a folder.

    python docker/sbom.py FOLDER [NAME...]

``environment.cdx.json`` lists what is installed here with licences and dependencies; ``LOCK.cdx.json`` lists what each
lock of docker/locks/ installs, with the SHA-256 of every file. cyclonedx-bom, installed into a temporary environment,
writes and validates them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOL = "cyclonedx-bom==7.5.0"


def main(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as tools:
        venv.create(tools, with_pip=True)
        subprocess.run([f"{tools}/bin/pip", "install", "--quiet", TOOL], check=True)
        sources = {"environment": ["environment", sys.executable]}
        for lock in sorted((ROOT / "docker" / "locks").glob("*.txt")):
            sources[lock.stem] = ["requirements", str(lock)]
        for name in names or sources:
            file = folder / f"{name}.cdx.json"
            options = ["--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible", "--validate"]
            command = [
                f"{tools}/bin/cyclonedx-py",
                *sources[name],
                *options,
                "--spec-version",
                "1.6",
                "--output-file",
                str(file),
            ]
            subprocess.run(command, check=True)
            print(file)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
