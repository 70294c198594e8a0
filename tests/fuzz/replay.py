"""Findings and corpus of earlier runs in tests/vectors/fuzz/READER; tests/fuzz/test_findings.py replays the findings.

``open.txt`` lists the signatures of those that are not mended yet. ``python -m tests.fuzz.replay`` removes from it
what is mended.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from .findings import Finding, escape_of
from .mutate import pack_zip
from .readers import reader_named

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "fuzz"
OPEN = VECTORS / "open.txt"
LARGEST_VECTOR = 16_384  # bytes; larger findings get a named test instead
LARGEST_CORPUS = 131_072  # bytes of content in one reader's archive; the smallest are kept
CORPUS = "corpus.zip"


def vectors() -> list[Path]:
    """Every kept content."""
    return sorted(VECTORS.glob("*/*.bin"))


def open_signatures() -> set[str]:
    """Signatures of the findings that are not mended yet."""
    return {line.split()[0] for line in OPEN.read_text().splitlines() if line} if OPEN.exists() else set()


def add_vector(name: str, finding: Finding, data: bytes) -> None:
    """Keep the content of a finding, and list it as open."""
    if len(data) > LARGEST_VECTOR or finding.kind.startswith("SIG") or finding.kind == "hang":
        return
    folder = VECTORS / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{finding.signature}.bin").write_bytes(data)
    if finding.signature not in open_signatures():
        with OPEN.open("a") as file:
            file.write(f"{finding.signature} {name}: {finding.kind} at {finding.place}\n")


def keep_corpus(name: str, folder: Path) -> None:
    """Archive the smallest content of a working corpus."""
    chosen, total = [], 0
    for path in sorted(folder.iterdir(), key=lambda path: (path.stat().st_size, path.name)):
        total += path.stat().st_size
        if total > LARGEST_CORPUS:
            break
        chosen.append((path.name, path.read_bytes()))
    (VECTORS / name).mkdir(parents=True, exist_ok=True)
    (VECTORS / name / CORPUS).write_bytes(pack_zip(sorted(chosen), deflate=True))


def add_corpus(name: str, seeds: list[bytes], folder: Path) -> None:
    """Write the seeds and the archived content into a working corpus, named by digest as libFuzzer does."""
    folder.mkdir(parents=True, exist_ok=True)
    archive, contents = VECTORS / name / CORPUS, list(seeds)
    if archive.exists():
        with zipfile.ZipFile(archive) as opened:
            contents += [opened.read(each) for each in opened.namelist()]
    for data in contents:
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def escape(path: Path) -> Finding | None:
    """What the reader's function lets out for a kept content; None if it returns or refuses it."""
    try:
        reader_named(path.parent.name).read(path.read_bytes())
    except BaseException as problem:
        return escape_of(problem)
    return None


def main() -> None:
    """Rewrite the list of open findings without those that are mended."""
    escaping = {path.stem for path in vectors() if escape(path) is not None}
    lines = OPEN.read_text().splitlines(keepends=True) if OPEN.exists() else []
    kept = [line for line in lines if line.split()[0] in escaping]
    OPEN.write_text("".join(kept))
    print(f"{len(lines) - len(kept)} mended, {len(kept)} open")


if __name__ == "__main__":
    main()
