"""One source at a time from where it lies to a folder: its own, the tree, the store, a repository, a registry.

What lies elsewhere is used at the commit or digest of the app's previous image until the app asks for something else
or for an upgrade: a branch that moved never changes a build unasked.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from buildpacks.choosing.packages import Package, pull_package, read_package
from buildpacks.choosing.packs import Pack, inspect
from buildpacks.choosing.shelf import mark_used, sweep
from buildpacks.choosing.values import Source, SourceKind, Terms
from buildpacks.lifecycle.toml_writer import render_toml
from buildpacks.order import BuildFailed, BuildOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """One source on disk. pack is what the order names; packs all that it may expand to; pin a commit or digest."""

    source: Source
    pack: Pack | None
    packs: tuple[Pack, ...]
    version: str
    pin: str

    @property
    def id(self) -> str:
        """What the order calls it."""
        return self.source.location if self.pack is None else self.pack.id


class Bringer:
    """Brings the sources of one build."""

    def __init__(self, order: BuildOrder, terms: Terms, own: Mapping[str, str], log: Callable[[str], None]) -> None:
        self._order, self._terms, self._own, self._log = order, terms, own, log
        self._drafts, self._inline_count = order.work_dir / "chosen", 0

    def bring(self, source: Source) -> Brought:
        """A source on disk. Raises BuildFailed: every code of choosing_words about one buildpack."""
        match source.kind:
            case SourceKind.BUILTIN:
                return self._builtin(source)
            case SourceKind.FOLDER:
                return self._folder(source)
            case SourceKind.INLINE:
                return _single(source, inspect(self._inline(source), source), "")
            case SourceKind.GIT:
                return self._git(source)
            case SourceKind.PACKAGE:
                return _several(source, read_package(self._inside(source), source, self._store_dir() / "images"), "")
            case SourceKind.IMAGE:
                return self._image(source)

    def _builtin(self, source: Source) -> Brought:
        here = self._own[source.location]
        if source.ref not in {"", here}:
            known = f"{source.location}@{here}"
            raise BuildFailed("buildpack-unknown", buildpack=source.text, asked_by=source.asked_by, known=[known])
        return Brought(source=source, pack=None, packs=(), version=here, pin="")

    def _folder(self, source: Source) -> Brought:
        """A copy, for the build changes its tree, and files may be left out of it."""
        target = self._drafts / hashlib.sha256(source.location.encode()).hexdigest()[:16]
        if not target.exists():
            shutil.copytree(self._inside(source), target, symlinks=True)
        return _single(source, inspect(target, source), "")

    def _inside(self, source: Source) -> Path:
        root = self._order.app_dir.resolve()
        path = (root / source.location).resolve()
        wanted_file = source.kind is SourceKind.PACKAGE
        if not path.is_relative_to(root) or not (path.is_file() if wanted_file else path.is_dir()) or path == root:
            raise BuildFailed("buildpack-missing", buildpack=source.text, asked_by=source.asked_by)
        return path

    def _inline(self, source: Source) -> Path:
        script = source.script
        assert script is not None
        self._inline_count += 1
        folder = self._drafts / f"inline-{self._inline_count}"
        (folder / "bin").mkdir(parents=True)
        head = {"api": script.api, "buildpack": {"id": source.location, "version": "0.0.0"}}
        (folder / "buildpack.toml").write_text(render_toml(head), encoding="utf-8")
        for name, text in (("detect", "#!/bin/sh\n"), ("build", f"#!{script.interpreter}\n{script.inline}\n")):
            path = folder / "bin" / name
            path.write_text(text, encoding="utf-8")
            path.chmod(0o755)
        return folder

    def _image(self, source: Source) -> Brought:
        registry = self._terms.registry
        if registry is None:
            raise BuildFailed("buildpack-unreachable", buildpack=source.text, cause="no way to registries here")
        package = pull_package(source, self._pin(source), self._store_dir() / "images", registry, self._log)
        return _several(source, package, package.digest)

    def _git(self, source: Source) -> Brought:
        git = self._terms.git
        if git is None:
            raise BuildFailed("buildpack-unreachable", buildpack=source.text, cause="no way to repositories here")
        commit = self._pin(source) or git.resolve(source)
        # By address too: that an app may read a commit says nothing about another app's address.
        address = hashlib.sha256(source.location.encode()).hexdigest()[:16]
        final = self._store_dir() / "git" / f"{address}-{commit}"
        if not final.is_dir():
            draft = self._drafts / f"git-{address}"
            draft.parent.mkdir(parents=True, exist_ok=True)
            git.fetch(source, commit, draft)
            final.parent.mkdir(parents=True, exist_ok=True)
            try:
                draft.rename(final)
            except OSError:
                if not final.is_dir():  # else another build was quicker: the same commit, the same files
                    raise
            sweep(self._store_dir())
        mark_used(final)
        return _single(source, inspect(final, source), commit)

    def _pin(self, source: Source) -> str:
        return "" if self._order.upgrade else self._terms.pins.get(source.text, "")

    def _store_dir(self) -> Path:
        return self._terms.store_dir or self._drafts / "store"


def _single(source: Source, pack: Pack, pin: str) -> Brought:
    return Brought(source=source, pack=pack, packs=(pack,), version=pack.version, pin=pin)


def _several(source: Source, package: Package, pin: str) -> Brought:
    root = package.root
    return Brought(source=source, pack=root, packs=package.packs, version=root.version, pin=pin)
