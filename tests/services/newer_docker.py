"""A Docker engine newer than this Debian's, with its containerd: unpacked into a cache, never installed.

The packages come from the machine's own mirror with another suite in its place, through an apt that keeps its lists
and its archives in our folder; the system's package database never hears of it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

SUITES = ("sid", "trixie")
PACKAGES = ("docker.io", "containerd", "runc", "tini-static")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """Where this machine has Debian from, and the keys that it trusts for it."""

    uri: str
    keyring: str


def unpacked() -> Path:
    """A folder with usr/sbin/dockerd and usr/bin/containerd that run here; made once for every later run.

    Its runc often wants a newer C library than this Debian has; then it is left out, and the machine's own does.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "algo-tests" / "newer-docker"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = []
        for suite in SUITES:
            root = cache / suite / "root"
            if not (cache / suite / "done").exists():
                shutil.rmtree(cache / suite, ignore_errors=True)
                if said := _fetch(cache / suite):
                    told.append(f"{suite}: {said}")
                    continue
                (cache / suite / "done").touch()
            return root
    sentence = "no Docker with the containerd image store could be fetched: " + "; ".join(told)
    if os.environ.get("CI"):
        pytest.fail(sentence)
    pytest.skip(sentence)


def mirror(folder: Path) -> Mirror | None:
    """The first Debian archive among apt's sources, in either of its two formats; security archives do not count.

    folder  /etc/apt
    """
    for path in sorted((folder / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.MULTILINE))
            found = _mirror(fields.get("URIs", "").split(" ")[0], fields.get("Signed-By", ""))
            if found is not None and "deb" in fields.get("Types", "").split():
                return found
    for path in (folder / "sources.list", *sorted((folder / "sources.list.d").glob("*.list"))):
        text = path.read_text() if path.exists() else ""
        for options, uri in re.findall(r"^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+\S+\s+main", text, re.MULTILINE):
            key = re.search(r"signed-by=(\S+)", options)
            if found := _mirror(uri, key.group(1) if key else ""):
                return found
    return None


def runs(program: Path) -> bool:
    """Does the program start here? One that wants a newer C library does not."""
    if not program.exists():
        return False
    return subprocess.run([program, "--version"], capture_output=True, check=False).returncode == 0


def _mirror(uri: str, keyring: str) -> Mirror | None:
    if not re.search(r"/debian/?$", uri):
        return None
    return Mirror(uri=uri, keyring=keyring or "/usr/share/keyrings/debian-archive-keyring.gpg")


def _fetch(folder: Path) -> str:
    """Fetch and unpack one suite's packages; '' when what is there runs, else why not."""
    source, apt = mirror(Path("/etc/apt")), shutil.which("apt-get")
    if source is None or apt is None:
        return "this machine has no Debian archive among its package sources"
    for part in ("lists/partial", "archives/partial", "deb", "root"):
        (folder / part).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={source.keyring}] {source.uri} {folder.name} main\n")
    options = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder,
        "Acquire::Languages": "none",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        "APT::Sandbox::User": "root",
    }
    given = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    for words in (["update", "--quiet"], ["download", "--quiet", *PACKAGES]):
        done = subprocess.run([apt, *given, *words], cwd=folder / "deb", capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return done.stderr.strip()
    for package in sorted((folder / "deb").glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", package, folder / "root"], check=True)
    for part in ("lists", "archives", "deb"):
        shutil.rmtree(folder / part)
    (folder / "pkgcache.bin").unlink(missing_ok=True)
    (folder / "srcpkgcache.bin").unlink(missing_ok=True)
    for program in ("usr/sbin/dockerd", "usr/bin/containerd"):
        if not runs(folder / "root" / program):
            return f"its {Path(program).name} does not run here"
    for program in ("usr/bin/runc", "usr/sbin/runc"):
        if not runs(folder / "root" / program):
            (folder / "root" / program).unlink(missing_ok=True)
    return ""
