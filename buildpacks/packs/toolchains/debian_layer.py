"""A language's interpreter and packages from Debian, unpacked into a layer that the app runs from.

Rules of this file
1. The layer's key is the list of packages asked for and the Debian that it is for, as for an Aptfile.
2. apt is asked at most once a build, and only when something has to be unpacked or looked up.
3. What nobody reads while an app runs is left out: documentation, manual pages, notes of packagers.
"""

# ruff: noqa: PTH103, PTH112 -- no pathlib in buildpacks

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from buildpacks.packs.algo_apt.aptfile import Wanted
from buildpacks.packs.algo_apt.build import ground_of, lead_inside, write_folders
from buildpacks.packs.algo_apt.debian import STATUS, Apt, is_target_here
from buildpacks.packs.algo_python.install import size_of
from buildpacks.packs.cnb import Context, PackFailed, detail, human_size, step
from buildpacks.packs.toolchains.running import find_program, refuse_trusted

LAYOUT = "1"  # part of the key: layers laid out otherwise are made again
_PRUNED = ("doc", "man", "info", "lintian", "doc-base", "bug")
Answer = TypeVar("Answer")
_PLANNED = re.compile(r"^The following (?:NEW packages will be installed|packages will be upgraded):\n((?:  .*\n)+)",
                      re.MULTILINE)  # fmt: skip
_POLICY = re.compile(r"^(\S+):\n  Installed: .*\n  Candidate: (\S+)", re.MULTILINE)


class Debian:
    """apt of one build, opened when it is first needed. language, package: for people, see toolchain-missing."""

    __slots__ = ("_apt", "_laid", "context", "language", "package")

    def __init__(self, context: Context, language: str, package: str) -> None:
        self.context, self.language, self.package = context, language, package
        self._apt: Apt | None = None
        self._laid: dict[str, list[str]] = {}  # layer -> archives that this build has unpacked into it

    def candidates(self, names: Sequence[str]) -> dict[str, str]:
        """Of these names, the packages that Debian has, and their versions. Raises PackFailed('toolchain-missing')."""
        apt = self._opened()
        text = self._asked(lambda: apt.run(["apt-cache", *apt.options(), "policy", *names], []))
        return {match[1]: match[2] for match in _POLICY.finditer(text) if match[2] != "(none)"}

    def unpack(self, packages: Sequence[str], layer: str) -> list[str]:
        """Packages and what they depend on into a folder of its own; the names of their archives, sorted.

        A folder that this build has filled already is added to, where the new list holds the old one.
        Raises  PackFailed('toolchain-missing')
        """
        apt, wanted = self._opened(), [Wanted(0, name) for name in packages]
        fetch = [
            "apt-get",
            *apt.options(),
            "-q",
            "-y",
            "--no-install-recommends",
            "--download-only",
            "install",
            *packages,
        ]
        said = self._asked(lambda: apt.run(fetch, wanted))
        planned = {name.partition(":")[0] for match in _PLANNED.finditer(said) for name in match[1].split()}
        # Other archives are of an earlier list of this build.
        names = [name for name in sorted(os.listdir(f"{apt.folder}/archives")) if name.endswith(".deb")]
        resolved = [name for name in names if name.partition("_")[0] in planned]
        laid = self._laid.get(layer, [])
        if not set(laid) <= set(resolved):
            laid = []
        if not laid:
            shutil.rmtree(layer, ignore_errors=True)
            os.makedirs(layer)
        for name in resolved:
            if name not in laid:
                apt.unpack(f"{apt.folder}/archives/{name}", layer)
        self._laid[layer] = resolved
        for name in _PRUNED:
            shutil.rmtree(f"{layer}/usr/share/{name}", ignore_errors=True)
        lead_inside(layer)
        return resolved

    def close(self) -> None:
        """Remove what apt was given to work in."""
        if self._apt is not None:
            shutil.rmtree(self._apt.folder)
            self._apt = None

    def _opened(self) -> Apt:
        if self._apt is not None:
            return self._apt
        env = self.context.env
        missing = next((name for name in ("apt-get", "dpkg-deb") if find_program(name, env) is None), "")
        if missing or not os.access(STATUS, os.R_OK):
            raise self._missing(f"what builds this app has no {missing or 'list of installed packages'}")
        if not is_target_here(env):
            refuse_trusted(env, "apt, of another Debian than this machine's,")
            raise self._missing("apt here is another Debian's than the stack")
        apt = Apt(f"{env.get('TMPDIR') or self.context.layers}/apt-{self.package}", env)
        shutil.rmtree(apt.folder, ignore_errors=True)
        apt.prepare()
        self._asked(apt.update)
        self._apt = apt
        return apt

    def _asked(self, question: Callable[[], Answer]) -> Answer:
        try:
            return question()
        except PackFailed as failed:
            why = {
                "apt-unreachable": "Debian's package sources do not answer",
                "apt-unknown": f"Debian's package sources have no {failed.fields.get('name')}",
            }.get(failed.code, str(failed.fields.get("output", failed.code)))
            raise self._missing(why) from failed

    def _missing(self, why: str) -> PackFailed:
        return PackFailed(
            "toolchain-missing", language=self.language, wanted=self.package, why=why, package=self.package
        )


def kept_packages(context: Context, name: str) -> list[str]:
    """What the layer of the previous image was asked for; [] when there is none, or it is to be made anew."""
    kept = context.restored(name)
    packages = kept.get("packages")
    if not isinstance(packages, list) or kept.get("asked") != _key(context, packages):
        return []
    is_there = os.path.isdir(f"{context.layers}/{name}") and context.env.get("ALGO_UPGRADE") != "1"
    return [str(package) for package in packages] if is_there else []


def make_layer(
    context: Context,
    name: str,
    packages: Sequence[str],
    debian: Debian,
    mend: Callable[[str], None],
    types: Sequence[str] = ("launch", "build", "cache"),
) -> str:
    """The layer with these packages, kept from the previous image or unpacked now; its folder.

    mend    makes programs run from the folder that they were unpacked into
    Raises  PackFailed('toolchain-missing')
    """
    wanted, layer = sorted(packages), f"{context.layers}/{name}"
    if kept_packages(context, name) == wanted:
        metadata = dict(context.restored(name))
        step(f"Debian packages: reused, unchanged ({human_size(int(str(metadata['size'])))})")
    else:
        started_at = time.monotonic()
        resolved = debian.unpack(wanted, layer)
        mend(layer)
        size_bytes = size_of(layer)
        seconds = time.monotonic() - started_at
        step(f"Debian packages: unpacked {len(resolved)} ({human_size(size_bytes)}, {seconds:.1f} s)")
        detail(f"{', '.join(wanted)}, and what they depend on")
        metadata = {"asked": _key(context, wanted), "packages": wanted, "resolved": resolved, "size": size_bytes}
    if "launch" in types:
        write_folders(context, name, layer)
    context.write_layer(name, types, metadata)
    return layer


def _key(context: Context, packages: Sequence[object]) -> str:
    return hashlib.sha256(repr([[str(name) for name in packages], LAYOUT, ground_of(context)]).encode()).hexdigest()
