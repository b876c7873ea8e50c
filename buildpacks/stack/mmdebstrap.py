"""The door to mmdebstrap: one run of it as a stream of tar, and its complaints as codes.

Rules of this file
1. Argument lists only; what an operator gave was checked by the caller and stands behind `--`.
2. What it wrote is used only after finish() has seen it end well.

Source  mmdebstrap(1) 1.3.5
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from buildpacks.image.tar import MTIME_S
from buildpacks.order import BuildFailed

_TOOL = "mmdebstrap"
_LIMIT_S = 3600.0  # packages over a slow line; a hang ends all the same
_END_S = 30.0  # it unmounts and removes its folder when it is told to end
_TAIL = 40
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Without it bookworm's init-system-helpers brings usrmerge, and that brings all of perl: 45 MB.
_MERGED_USR = Path("/usr/share/mmdebstrap/hooks/maybe-merged-usr")
_PASSED = (
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "TMPDIR", "SSL_CERT_FILE",
)  # fmt: skip
_STEP = re.compile(r"I: ((?:downloading|extracting|installing|creating) .*)\.\.\.")
_LOGIN = re.compile(r"//[^/\s@]+@")  # of a mirror's URL: it would end up in logs
_NO_SPACE = re.compile(r"No space left on device|You don't have enough free space")
_NO_PACKAGE = re.compile(r"Unable to locate package (\S+)|Package '?([^' ]+)'? has no installation candidate")
_NO_SUITE = re.compile(r"does not have a Release file|404 +Not Found|Unable to find expected entry")
_NO_KEY = re.compile(r"NO_PUBKEY \w*|is not signed|unable to find.*keyring|signatures couldn't be")
_NO_MIRROR = re.compile(
    r"(?:Could not (?:resolve|connect)|Temporary failure resolving|Connection (?:failed|refused|timed out)"
    r"|Unable to connect|Failed to fetch|Certificate verification failed).*"
)
_NO_RIGHTS = re.compile(r".*(?:unable to pick chroot mode|create user namespace|unshare|must be root|newuidmap).*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """One run: Debian's names throughout. mirrors empty: its own choice for the suite."""

    suite: str
    mirrors: tuple[str, ...]
    arch: str
    packages: tuple[str, ...]


class Running:
    """A run under way. stream: the root file system as a tar; finish(): it ended well, or why it did not."""

    def __init__(self, child: subprocess.Popen[bytes], plan: Bootstrap, log: Callable[[str], None]) -> None:
        assert child.stdout is not None
        self.stream: IO[bytes] = child.stdout
        self._child, self._plan, self._log = child, plan, log
        self._tail: deque[str] = deque(maxlen=_TAIL)
        self._is_late = threading.Event()
        self._said = threading.Thread(target=self._listen, name="mmdebstrap-words", daemon=True)
        self._limit = threading.Timer(_LIMIT_S, self._too_late)
        self._limit.daemon = True
        self._said.start()
        self._limit.start()

    def finish(self) -> None:
        """Wait for the end. Raises BuildFailed with the cause as far as its words tell it."""
        while self.stream.read(1 << 20):
            pass  # padding behind the last entry: unread, it would die of a broken pipe
        status = self._child.wait()
        self._said.join(_END_S)
        if self._is_late.is_set():
            raise BuildFailed("stack-build-timeout", seconds=int(_LIMIT_S), log=tuple(self._tail))
        if status != 0:
            raise cause_of(status, self._plan, tuple(self._tail))

    def stop(self) -> None:
        """End it, whatever it does; after a good finish this does nothing."""
        self._limit.cancel()
        self.stream.close()
        if self._child.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                self._child.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                self._child.wait()
        self._said.join(_END_S)

    def _listen(self) -> None:
        assert self._child.stderr is not None
        with self._child.stderr as lines:
            for raw in lines:
                line = _LOGIN.sub("//", raw.decode("utf-8", "replace").rstrip())
                self._tail.append(line)
                if step := _STEP.fullmatch(line):
                    self._log(step[1])

    def _too_late(self) -> None:
        self._is_late.set()
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, number)


@contextlib.contextmanager
def bootstrap(plan: Bootstrap, environ: Mapping[str, str], log: Callable[[str], None]) -> Iterator[Running]:
    """Start a run; it is over when the block is left. Raises BuildFailed('stack-tool-missing')."""
    tool = shutil.which(_TOOL, path=_PATH)
    if tool is None:
        raise BuildFailed("stack-tool-missing", tool=_TOOL)
    child = subprocess.Popen(
        [tool, *_arguments(plan, environ)],
        env=_environment(environ),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        umask=0o022,  # the server's own umask would end up in the modes of the image's files
    )
    running = Running(child, plan, log)
    try:
        yield running
    finally:
        running.stop()


def _arguments(plan: Bootstrap, environ: Mapping[str, str]) -> list[str]:
    arguments = [
        "--variant=essential",  # no apt: an image is replaced, never upgraded from inside
        "--format=tar",
        f"--architectures={plan.arch}",
        "--components=main",
        f"--include={','.join(plan.packages)}",
        "--dpkgopt=force-unsafe-io",
    ]
    if _MERGED_USR.is_dir():
        arguments.append(f"--hook-dir={_MERGED_USR}")
    if certificates := environ.get("SSL_CERT_FILE"):
        arguments.append(f'--aptopt=Acquire::https::CaInfo "{certificates}"')
    return [*arguments, "--", plan.suite, "-", *plan.mirrors]


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    passed = {name: environ[name] for name in _PASSED if name in environ}
    return {
        **passed,
        "PATH": _PATH,
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
        "SOURCE_DATE_EPOCH": str(MTIME_S),
        "PYTHONHASHSEED": "0",  # sets of names in byte-code are written in the order of their hashes
    }


def cause_of(status: int, plan: Bootstrap, tail: tuple[str, ...]) -> BuildFailed:
    """Why a run failed, as far as its last lines tell it."""
    text, log = "\n".join(tail), tail[-12:]
    if _NO_SPACE.search(text):
        return BuildFailed("stack-no-space", log=log)
    if match := _NO_PACKAGE.search(text):
        return BuildFailed("stack-package-unknown", found=match[1] or match[2], suite=plan.suite, log=log)
    if match := _NO_SUITE.search(text):
        return BuildFailed("stack-suite-unknown", found=match[0], suite=plan.suite, log=log)
    if match := _NO_KEY.search(text):
        return BuildFailed("stack-keyring-missing", found=match[0], suite=plan.suite, log=log)
    if match := _NO_MIRROR.search(text):
        return BuildFailed("stack-mirror-unreachable", found=match[0], suite=plan.suite, log=log)
    if match := _NO_RIGHTS.search(text):
        return BuildFailed("stack-needs-root", found=match[0], log=log)
    return BuildFailed("stack-build-failed", status=status, log=tail)
