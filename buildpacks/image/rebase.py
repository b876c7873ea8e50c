"""The same layers on another run image: a stack upgrade without a build.  Pure.

What a layer was made for must be there afterwards: the architecture, a C library that is not older, the distribution,
and the interpreter at its path with the same minor version. Anything else is a rebuild, and is refused here.

Source  buildpacks/spec platform.md "rebaser" (the target must be the same); contracts 1.9
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from buildpacks.ground import stack_document
from buildpacks.order import BuildFailed, Json
from buildpacks.stack.values import Stack, StackPython

_VERSION = re.compile(r"([a-z]+) (\d+(?:\.\d+)*)")
_DISTRO = "io.buildpacks.base.distro"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Misfit:
    what: str
    made_for: str
    found: str


def rebase(doc: Mapping[str, Json], stack: Stack) -> dict[str, Json]:
    """An image's document on the run image of another stack; its layers, processes and launch stay as they are.

    Raises  BuildFailed('rebase-no-stack') for an image that does not lie on a stack,
            BuildFailed('rebase-misfit', what, made_for, found, stack) when it has to be built again
    """
    old = doc.get("stack")
    if not isinstance(old, dict):
        raise BuildFailed("rebase-no-stack", base=str(doc.get("base", "host")))
    misfit = _platform_misfit(old, stack) or _libc_misfit(old, stack) or _distro_misfit(old, stack)
    python = _fitting_python(doc, stack)
    if isinstance(python, _Misfit):
        misfit = misfit or python
    if misfit is not None:
        raise BuildFailed(
            "rebase-misfit", stack=stack.name, what=misfit.what, made_for=misfit.made_for, found=misfit.found
        )
    moved: dict[str, Json] = {**doc, "base": stack.run.reference, "stack": stack_document(stack)}
    if isinstance(python, StackPython):
        moved["python"] = {"version": python.version, "path": python.path}
    return moved


def lies_on(doc: Mapping[str, Json], stack: Stack) -> bool:
    """Whether the image lies on this very run image already."""
    old = doc.get("stack")
    return isinstance(old, dict) and old.get("image_id") == stack.run.image_id


def stack_name(doc: Mapping[str, Json]) -> str:
    """For people: the stack's name, or `host`, or `dockerfile`."""
    old = doc.get("stack")
    return str(old.get("name", "")) if isinstance(old, dict) else str(doc.get("base", "host"))


def _platform_misfit(old: Mapping[str, Json], stack: Stack) -> _Misfit | None:
    before, after = _object(old, "config"), stack.run.config
    for key in ("os", "architecture", "variant"):
        was, now = str(before.get(key, "")), str(after.get(key, ""))
        if was != now:
            return _Misfit(what=key, made_for=was or "none", found=now or "none")
    return None


def _libc_misfit(old: Mapping[str, Json], stack: Stack) -> _Misfit | None:
    """A C library keeps what was linked against an older one, never the other way; an unknown one decides nothing."""
    was = str(old.get("libc", ""))
    before, after = _VERSION.fullmatch(was), _VERSION.fullmatch(stack.libc)
    fits = (
        before is not None and after is not None and before[1] == after[1] and _numbers(after[2]) >= _numbers(before[2])
    )
    return None if fits else _Misfit(what="C library", made_for=was or "unknown", found=stack.libc or "unknown")


def _distro_misfit(old: Mapping[str, Json], stack: Stack) -> _Misfit | None:
    """The specification's rule: a name or version that is said on both sides is the same."""
    labels = _object(_object(_object(old, "config"), "config"), "Labels")
    for key, now in (("name", stack.distro), ("version", stack.distro_version)):
        was = str(labels.get(f"{_DISTRO}.{key}", ""))
        if was and now and was != now:
            return _Misfit(what="distribution", made_for=was, found=now)
    return None


def _fitting_python(doc: Mapping[str, Json], stack: Stack) -> StackPython | _Misfit | None:
    """The stack's interpreter in the place of the image's; None when the image has none."""
    old = doc.get("python")
    if not isinstance(old, dict):
        return None
    version, path = str(old.get("version", "")), str(old.get("path", ""))
    for python in stack.pythons:
        if python.path == path and _numbers(python.version)[:2] == _numbers(version)[:2]:
            return python
    there = ", ".join(f"{python.version} at {python.path}" for python in stack.pythons)
    return _Misfit(what="Python", made_for=f"{version} at {path}", found=there or "none")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _object(value: Mapping[str, Json], key: str) -> Mapping[str, Json]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}
