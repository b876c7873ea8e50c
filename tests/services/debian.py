"""Parts of Debian that some tests need: a Docker engine, a registry, mmdebstrap.

On a CI machine (CI is set, root) what is missing is installed; a failure there is a failure. On a user's machine
nothing is installed: the test is skipped with the line to type.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

LOCK = Path(tempfile.gettempdir()) / "algo-tests-apt.lock"
LISTS = Path("/var/lib/apt/lists")
POLICY = Path("/usr/sbin/policy-rc.d")
APT_S = 600.0
# No daemon is started by its own package: the tests start theirs, with folders of their own.
NOT_NOW = "#!/bin/sh\nexit 101\n"
QUIET = {"DEBIAN_FRONTEND": "noninteractive", "LANG": "C.UTF-8"}


def need_debian(*packages: str) -> None:
    """These packages are installed when this returns; otherwise the test is skipped, or fails where CI is set.

    packages  names as apt knows them, for example "docker.io", "docker-registry", "mmdebstrap"
    """
    missing = _missing(packages)
    if not missing:
        return
    line = f"apt-get install {' '.join(missing)}"
    if not os.environ.get("CI"):
        pytest.skip(f"{', '.join(missing)} is missing; to run this test: {line}")
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.fail(f"{', '.join(missing)} is missing, and only root on Debian can install it: {line}")
    with _alone():
        missing = _missing(packages)  # another worker of the same run may have been quicker
        if missing:
            _install(missing)


def _missing(packages: tuple[str, ...] | list[str]) -> list[str]:
    if shutil.which("dpkg-query") is None:
        return list(packages)
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages],
        capture_output=True,
        text=True,
        check=False,  # a name that dpkg never heard of makes it fail, and the others are still listed
        timeout=60,
    )
    here = {line.split()[0] for line in done.stdout.splitlines() if line.endswith(" installed")}
    return [name for name in packages if name not in here]


def _install(packages: list[str]) -> None:
    with _no_daemons():
        command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
        if any(LISTS.glob("*_Packages*")):
            first = _apt(command)
            if first.returncode == 0:
                return
        update = _apt(["apt-get", "update", "-q"])
        done = _apt(command)
        if done.returncode != 0:
            pytest.fail(f"{' '.join(command)}: status {done.returncode}\n{update.stdout[-2000:]}{done.stdout[-4000:]}")


def _apt(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={**os.environ, **QUIET},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=APT_S,
    )


@contextmanager
def _alone() -> Iterator[None]:
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _no_daemons() -> Iterator[None]:
    """An operator's own policy-rc.d stays as it is; ours is gone afterwards."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text(NOT_NOW, encoding="ascii")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()
