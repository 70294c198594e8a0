"""Print NOTICE: what the archives, firmware and container images of tinyscene contain, and under which licences.

    python docker/notice.py >NOTICE

The Python packages of an image are those of its lock for Linux; their licences are read from the metadata of the
packages installed here. Refuses a package that is neither installed nor listed in ``LISTED``.
"""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from requirements import CUDA

LOCKS = Path(__file__).resolve().parent / "locks"
IMAGES = {"pi": "pi", "firmware": "firmware", "train": "export", "dev": "all"}  # lock of each image
MACHINES = {"pi": "aarch64"}  # the others are x86-64
# By the start of their names: packages without a short licence in their metadata, and those of the CUDA build of
# PyTorch, which the set-up does not install.
LISTED = {
    "torch": "BSD-3-Clause",
    "tflite-micro": "Apache-2.0",
    "nvidia-": "NVIDIA proprietary",
    "cuda-pathfinder": "Apache-2.0",
    "cuda-": "NVIDIA proprietary",
    "triton": "MIT",
}
TEXT = """NOTICE of tinyscene

tinyscene is licensed under the Apache License, Version 2.0; see LICENSE.

1. The wheel, the source archive and every firmware folder contain files of tinyscene only, under that licence. The
   wheel requires soundfile, whose wheels contain libsndfile and libmpg123 (LGPL-2.1), and soxr, whose wheels contain
   libsoxr (LGPL-2.1); they are linked dynamically and can be replaced.

2. A linked firmware image also contains parts of the toolchain's libraries: libgcc (GPL-3.0 with the GCC Runtime
   Library Exception) and newlib or picolibc (BSD-style licences). Nothing of TensorFlow, CMSIS or another inference
   library is linked.

3. The container images also contain the Debian packages named in their Dockerfiles, each with its licence in
   /usr/share/doc/PACKAGE/copyright, and the Python packages below. The image `pi` and the base install are the first
   column. x: contained.

{table}
"""


def lock_requirements(name: str, machine: str) -> dict[str, str]:
    """Version of each package of a lock that is installed on Linux with Python 3.11, by canonical name."""
    environment = {"sys_platform": "linux", "platform_machine": machine, "platform_system": "Linux"}
    environment |= {"python_version": "3.11", "python_full_version": "3.11.2", "implementation_name": "cpython"}
    versions = {}
    for line in (LOCKS / f"{name}.txt").read_text().splitlines():
        if line[:1].isalnum():
            requirement = Requirement(line.rstrip(" \\"))
            if requirement.marker is None or requirement.marker.evaluate(environment):
                versions[canonicalize_name(requirement.name)] = str(requirement.specifier).removeprefix("==")
    return versions


def licence(package: str) -> str:
    """The licence of a package, as listed or as its metadata has it; raises SystemExit for an unknown package."""
    listed = [
        text
        for start, text in LISTED.items()
        if package == start or (start.endswith("-") and package.startswith(start))
    ]
    try:
        metadata = importlib.metadata.metadata(package)
    except importlib.metadata.PackageNotFoundError:
        if not listed:
            sys.exit(f"error: {package}: its licence is unknown here; next: run .ci/setup, or list it in {__file__}")
        return listed[0]
    classifiers = metadata.get_all("Classifier") or []
    named = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License :: OSI")]
    texts = (metadata.get("License-Expression"), metadata.get("License"), *named)
    short = [" ".join(text.split()) for text in texts if text and len(text) <= 60]
    return (listed + short + ["see its metadata"])[0]


def main() -> None:
    images = {image: lock_requirements(lock, MACHINES.get(image, "x86_64")) for image, lock in IMAGES.items()}
    images["dev"] = {name: v for name, v in images["dev"].items() if name == "torch" or not CUDA.match(f"{name}==")}
    versions = {name: version for packages in images.values() for name, version in packages.items()}
    head = f"   {'package':34} {'version':22} {' '.join(f'{image:8}' for image in images)} licence"
    rows = [head, "   " + "-" * (len(head) + 20)]
    for name in sorted(versions):
        marks = " ".join(f"{'x' if name in packages else '':8}" for packages in images.values())
        rows.append(f"   {name:34} {versions[name]:22} {marks} {licence(name)}")
    print(TEXT.format(table="\n".join(rows)), end="")


if __name__ == "__main__":
    main()
