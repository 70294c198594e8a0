"""What builds and runs images: docker, podman, or buildah, which needs no service running.

Buildah works in a changed root (``--isolation chroot``) and as root. Where no registry answers it makes the base image
from Debian's packages with mmdebstrap. Refuses what fails, with all that was said in between.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tinyscene.export.errors import ExportError
from tinyscene.export.targets.raspberry_pi import PROCESSORS
from tinyscene.export.targets.subprocesses import last_line

BASE = "debian:bookworm-slim"  # as the Dockerfiles say
LEFT_OUT = ("doc", "man", "locale", "info")  # of /usr/share, as in the published image
ARM64 = "pi"  # the image that is for another processor than, mostly, this one
PASSED = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
BINFMT = Path("/proc/sys/fs/binfmt_misc")
REGISTRATION = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")  # of Debian's qemu-user-static

Mounts = Mapping[Path, str]  # a file or folder here, and where it is inside


def call(command: list[str], where: str, *, folder: Path | None = None, next_step: str = "") -> str:
    """What a program printed; everything it said goes to standard error when it fails.

    Raises:
        ExportError: it failed.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        raise ExportError(where, "failed", got=last_line(done.stderr or done.stdout), next_step=next_step)
    return done.stdout


def foreign(image: str) -> bool:
    """Whether the image is for another processor than this machine's."""
    return image == ARM64 and platform.machine() not in ("aarch64", "arm64")


def _volumes(mounts: Mounts) -> list[str]:
    return [word for path, inside in mounts.items() for word in ("--volume", f"{path}:{inside}")]


class Docker:
    """Builds and runs through Docker's service. Mounts nothing while it builds: index variables must do."""

    name = "docker"

    def works(self) -> bool:
        found = shutil.which(self.name)
        return found is not None and subprocess.run([self.name, "info"], capture_output=True).returncode == 0

    def build(self, image: str, tree: Path, settings: Mounts) -> None:
        """tinyscene-IMAGE of docker/IMAGE.Dockerfile, with this machine's package settings while it lasts."""
        call([self.name, "build", *self._options(image), str(tree)], f"{self.name} build of {image}")

    def _options(self, image: str) -> list[str]:
        arguments = [word for name in PASSED if name in os.environ for word in ("--build-arg", name)]
        processor = ["--platform", "linux/arm64"] if image == ARM64 else []
        return [*arguments, *processor, "--file", f"docker/{image}.Dockerfile", "--tag", f"tinyscene-{image}"]

    def run(self, image: str, words: list[str], mounts: Mounts) -> str:
        """What a command said, as the image's user in the image's folder."""
        command = [self.name, "run", "--rm", *_volumes(mounts), "--entrypoint", words[0], f"tinyscene-{image}"]
        return call([*command, *words[1:]], f"{image}: {' '.join(words)}")

    def size(self, image: str) -> str:
        return call([self.name, "images", "--format", "{{.Size}}", f"tinyscene-{image}"], self.name).strip()


class Podman(Docker):
    """Called as Docker is, and mounts package settings while it builds."""

    name = "podman"

    def build(self, image: str, tree: Path, settings: Mounts) -> None:
        command = [self.name, "build", *_volumes(settings), *self._options(image), str(tree)]
        call(command, f"{self.name} build of {image}", folder=tree)


class Buildah(Docker):
    """Builds and runs in a changed root, without a service. Makes its base image itself where no registry answers."""

    name = "buildah"
    ISOLATION = ("--isolation", "chroot")

    def works(self) -> bool:
        return shutil.which(self.name) is not None and os.geteuid() == 0

    def build(self, image: str, tree: Path, settings: Mounts) -> None:
        base = ["--pull-never", "--build-arg", f"BASE={self._base('arm64' if image == ARM64 else _architecture())}"]
        command = [self.name, "bud", *self.ISOLATION, *base, *_volumes(settings), *self._options(image), str(tree)]
        with emulation(image):
            call(command, f"{self.name} build of {image}", folder=tree)

    def run(self, image: str, words: list[str], mounts: Mounts) -> str:
        name = call([self.name, "from", "--pull-never", f"tinyscene-{image}"], self.name).strip()
        try:
            with emulation(image) as (around, environment):
                command = [*around, self.name, "run", *self.ISOLATION, *environment, *_volumes(mounts), name, "--"]
                return call([*command, *words], f"{image}: {' '.join(words)}")
        finally:
            call([self.name, "rm", name], self.name)

    def _base(self, architecture: str) -> str:
        """The published base image where a registry answers, and otherwise one like it."""
        published, made = f"docker.io/library/{BASE}", f"localhost/{BASE}-{architecture}"
        for name, get in ((made, "inspect"), (published, "pull")):
            options = ["--type", "image"] if get == "inspect" else ["--arch", architecture]
            if subprocess.run([self.name, get, *options, name], capture_output=True).returncode == 0:
                return name
        with tempfile.TemporaryDirectory(prefix="tinyscene-base-") as folder, emulation(ARM64):
            archive = f"{folder}/root.tar"
            slim = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT]
            suite = BASE.partition(":")[2].partition("-")[0]
            words = ["--variant=minbase", f"--architectures={architecture}", *slim, suite, archive]
            call(["mmdebstrap", "--quiet", *words], BASE, next_step="apt-get install mmdebstrap arch-test")
            empty = call([self.name, "from", "--arch", architecture, "scratch"], self.name).strip()
            call([self.name, "add", empty, archive, "/"], self.name)
        call([self.name, "commit", "--rm", empty, made], self.name)
        return made


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


@contextmanager
def emulation(image: str) -> Iterator[tuple[list[str], list[str]]]:
    """What stands before a command and its options that run a foreign image: QEMU registered, a Pi's processor shown.

    QEMU's own choice of processor computes wrongly (7.2), and LiteRT crashes on this machine's cpuinfo.
    """
    if not foreign(image):
        yield [], []
        return
    mounted, registered = (BINFMT / "register").exists(), (BINFMT / "qemu-aarch64").exists()
    if not mounted:
        call(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], "binfmt_misc", next_step="use sudo")
    if not registered:
        if not REGISTRATION.exists():
            raise ExportError(str(REGISTRATION), "is missing", next_step="apt-get install qemu-user-static")
        (BINFMT / "register").write_text(REGISTRATION.read_text())
    processor = PROCESSORS["pi4"]
    with tempfile.NamedTemporaryFile("w", prefix="tinyscene-cpuinfo-") as cpuinfo:
        cpuinfo.write(processor.cpuinfo())
        cpuinfo.flush()
        Path(cpuinfo.name).chmod(0o644)
        shown = f'mount --bind {cpuinfo.name} /proc/cpuinfo && exec "$@"'  # for this command alone
        try:
            yield ["unshare", "--mount", "sh", "-c", shown, "sh"], ["--env", f"QEMU_CPU={processor.name}"]
        finally:  # the kernel is left as it was
            if not registered:
                (BINFMT / "qemu-aarch64").write_text("-1")
            if not mounted:
                call(["umount", str(BINFMT)], "binfmt_misc")


ENGINES = {engine.name: engine for engine in (Docker(), Podman(), Buildah())}
