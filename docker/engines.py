"""Container engines that build and run images: docker, podman, or buildah, which needs no running service.

Buildah works in a changed root (``--isolation chroot``) and as root. If no registry is reachable it builds the base
image from Debian's packages with mmdebstrap. A failed command raises an error, with its output on standard error.
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
LEFT_OUT = ("doc", "man", "locale", "info")  # folders of /usr/share that the published image does not have
ARM64 = "pi"  # the image for arm64
PASSED = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
BINFMT = Path("/proc/sys/fs/binfmt_misc")
REGISTRATION = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")  # of Debian's qemu-user-static

Mounts = Mapping[Path, str]  # a file or folder of the host, and its path in the container


def call(command: list[str], where: str, *, folder: Path | None = None, next_step: str = "") -> str:
    """Return a program's standard output; if it fails, print its whole output to standard error.

    Raises:
        ExportError: the program failed.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        raise ExportError(where, "failed", got=last_line(done.stderr or done.stdout), next_step=next_step)
    return done.stdout


def foreign(image: str) -> bool:
    """Return whether the image is for another processor than this machine's."""
    return image == ARM64 and platform.machine() not in ("aarch64", "arm64")


def _volumes(mounts: Mounts) -> list[str]:
    return [word for path, inside in mounts.items() for word in ("--volume", f"{path}:{inside}")]


class Docker:
    """Docker, through its service. Builds cannot mount files: package settings are passed as variables."""

    name = "docker"

    def works(self) -> bool:
        found = shutil.which(self.name)
        return found is not None and subprocess.run([self.name, "info"], capture_output=True).returncode == 0

    def build(self, image: str, tree: Path, settings: Mounts) -> None:
        """Build tinyscene-IMAGE from docker/IMAGE.Dockerfile; only the build uses this machine's package settings."""
        call([self.name, "build", *self._options(image), str(tree)], f"{self.name} build of {image}")

    def _options(self, image: str) -> list[str]:
        arguments = [word for name in PASSED if name in os.environ for word in ("--build-arg", name)]
        processor = ["--platform", "linux/arm64"] if image == ARM64 else []
        return [*arguments, *processor, "--file", f"docker/{image}.Dockerfile", "--tag", f"tinyscene-{image}"]

    def run(self, image: str, words: list[str], mounts: Mounts) -> str:
        """Return the output of a command, run as the image's user in the image's folder."""
        command = [self.name, "run", "--rm", *_volumes(mounts), "--entrypoint", words[0], f"tinyscene-{image}"]
        return call([*command, *words[1:]], f"{image}: {' '.join(words)}")

    def size(self, image: str) -> str:
        return call([self.name, "images", "--format", "{{.Size}}", f"tinyscene-{image}"], self.name).strip()


class Podman(Docker):
    """Podman; it has Docker's options, and builds mount package settings."""

    name = "podman"

    def build(self, image: str, tree: Path, settings: Mounts) -> None:
        command = [self.name, "build", *_volumes(settings), *self._options(image), str(tree)]
        call(command, f"{self.name} build of {image}", folder=tree)


class Buildah(Docker):
    """Buildah, in a changed root, without a service. Builds the base image if no registry is reachable."""

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
        """Return the name of the published base image if a registry is reachable, else of an equivalent one."""
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
    """Yield the prefix and options of commands that run a foreign image, with QEMU registered and a Pi's cpuinfo.

    QEMU's default processor computes wrong results (7.2), and LiteRT crashes with this machine's cpuinfo.
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
        mount = f'mount --bind {cpuinfo.name} /proc/cpuinfo && exec "$@"'  # for this command alone
        try:
            yield ["unshare", "--mount", "sh", "-c", mount, "sh"], ["--env", f"QEMU_CPU={processor.name}"]
        finally:  # restore the kernel's settings
            if not registered:
                (BINFMT / "qemu-aarch64").write_text("-1")
            if not mounted:
                call(["umount", str(BINFMT)], "binfmt_misc")


ENGINES = {engine.name: engine for engine in (Docker(), Podman(), Buildah())}
