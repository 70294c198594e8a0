"""Run a WebAssembly image in headless Chromium, on the files of the current folder, and exit with its code.

    python -P in_chromium.py IMAGE

A page with image, files and wasi.js runs the image while it loads; its text is then the results, which are written to
the folder. As root, which Chromium's sandbox refuses, it runs without one: the page is made here, and loads nothing.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import tempfile
from pathlib import Path

from tinyscene.runtime.processes import run
from tinyscene.runtime.temporaries import temporary_folder

RUN = """
const decoded = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
function encoded(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) {
    text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  }
  return btoa(text);
}
let result;
try {
  const given = new Map(Object.entries(FILES).map(([name, text]) => [name, decoded(text)]));
  const files = new Map(given);
  result = runImage(decoded(IMAGE), files);
  result.files = {};
  files.forEach((bytes, name) => bytes !== given.get(name) && (result.files[name] = encoded(bytes)));
} catch (problem) {
  result = { code: 1, printed: "", files: {}, problem: problem.message };
}
document.body.textContent = `RESULT${btoa(JSON.stringify(result))}END`;
"""
OPTIONS = ("--headless=new", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage", "--dump-dom")


def main(image: str) -> int:
    """Run the image; returns its exit code."""
    with temporary_folder("chromium") as folder:
        page = folder / "page.html"
        page.write_text(_page(Path(image).read_bytes()))
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        # The path of a socket has at most 107 bytes: Chromium's is in the temporary folder of this program, not in
        # the one within it that `run` gives to Chromium.
        command = ["env", f"TMPDIR={tempfile.gettempdir()}", "chromium", *OPTIONS, *sandbox]
        done = run([*command, f"--user-data-dir={folder / 'profile'}", page.as_uri()])
    found = re.search(r"RESULT([A-Za-z0-9+/=]*)END</body>", done.stdout)
    if found is None:
        print(f"ERROR: Chromium printed no result, exit code {done.code}", file=sys.stderr)
        return 1
    result = json.loads(base64.b64decode(found[1]))
    for name, content in result["files"].items():
        Path(Path(name).name).write_bytes(base64.b64decode(content))
    print(result["printed"], end="")
    if "problem" in result:
        print(f"ERROR: {result['problem']}", file=sys.stderr)
    return int(result["code"])


def _page(image: bytes) -> str:
    files = {path.name: _encoded(path.read_bytes()) for path in Path().iterdir() if path.is_file()}
    script = Path(__file__).with_name("wasi.js").read_text()
    data = f'const IMAGE = "{_encoded(image)}", FILES = {json.dumps(files)};'
    return f'<!doctype html><meta charset="utf-8"><body><script>{data}\n{script}\n{RUN}</script></body>'


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
