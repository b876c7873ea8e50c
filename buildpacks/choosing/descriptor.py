"""project.toml as far as it chooses buildpacks and files.

Source  buildpacks/spec extensions/project-descriptor.md 0.2; the keys of 0.1 (`[build]`, `[[build.buildpacks]]`) are
        told as not supported
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from buildpacks.choosing.sources import own_source, parse_uri
from buildpacks.choosing.values import Script, Source, SourceKind
from buildpacks.order import BuildFailed

FILE = "project.toml"
MAX_BYTES = 1 << 20
MAX_ENTRIES = 100
_SHELL = re.compile(r"/[A-Za-z0-9._/-]{1,100}")
_API = re.compile(r"\d{1,2}(?:\.\d{1,2})?")
_ID = re.compile(r"[A-Za-z0-9-]+(?:[./-][A-Za-z0-9-]+)*")
_KNOWN = frozenset({"builder", "include", "exclude", "group", "pre", "post", "build"})
_ENTRY = frozenset({"id", "version", "uri", "script"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectDescriptor:
    """What project.toml says. env is [[io.buildpacks.build.env]]; untold are keys that change nothing here."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    group: tuple[Source, ...] = ()
    pre: tuple[Source, ...] = ()
    post: tuple[Source, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    untold: tuple[str, ...] = ()


def read_descriptor(root: Path, own_ids: Collection[str]) -> ProjectDescriptor:
    """The descriptor of a tree; an empty one when there is none. Raises BuildFailed as parse_descriptor."""
    try:
        # The tree is the pusher's: a link or a pipe of that name is not read.
        descriptor = os.open(root / FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ProjectDescriptor()
    with os.fdopen(descriptor, "rb") as file:
        try:
            data = file.read(MAX_BYTES + 1)
        except IsADirectoryError:
            return ProjectDescriptor()
    return parse_descriptor(data, own_ids)


def parse_descriptor(data: bytes, own_ids: Collection[str]) -> ProjectDescriptor:
    """The bytes of a project.toml.

    Raises  BuildFailed: project-toml-bad, project-toml-both, and what a source raises
    """
    if len(data) > MAX_BYTES:
        raise BuildFailed("project-toml-bad", reason=f"it has more than {MAX_BYTES} bytes")
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BuildFailed("project-toml-bad", reason=str(error)) from error
    ours = _table(_table(document.get("io"), "io").get("buildpacks"), "io.buildpacks")
    include, exclude = _texts(ours, "include"), _texts(ours, "exclude")
    if include and exclude:
        raise BuildFailed("project-toml-both")
    return ProjectDescriptor(
        include=include,
        exclude=exclude,
        group=_entries(ours.get("group"), "io.buildpacks.group", own_ids),
        pre=_inner(ours, "pre", own_ids),
        post=_inner(ours, "post", own_ids),
        env=_env(ours),
        untold=_untold(document, ours),
    )


def _inner(ours: Mapping[str, object], name: str, own_ids: Collection[str]) -> tuple[Source, ...]:
    where = f"io.buildpacks.{name}"
    return _entries(_table(ours.get(name), where).get("group"), f"{where}.group", own_ids)


def _entries(value: object, where: str, own_ids: Collection[str]) -> tuple[Source, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_ENTRIES:
        raise BuildFailed("project-toml-bad", reason=f"{where} is not a list of at most {MAX_ENTRIES} tables")
    return tuple(
        _entry(_table(item, where), f"{FILE} [[{where}]] {number}", own_ids) for number, item in enumerate(value, 1)
    )


def _entry(item: Mapping[str, object], asked_by: str, own_ids: Collection[str]) -> Source:
    unknown = sorted(set(item) - _ENTRY)
    if unknown:
        raise BuildFailed("project-toml-bad", reason=f"{asked_by} has the key {unknown[0]}")
    pack_id, version, uri = (_text(item, name, asked_by) for name in ("id", "version", "uri"))
    if "script" in item:
        if uri:
            raise BuildFailed("project-toml-bad", reason=f"{asked_by} has both uri and script")
        return _inline(_table(item["script"], asked_by), pack_id, asked_by)
    if uri:
        if version or pack_id:
            raise BuildFailed("project-toml-bad", reason=f"{asked_by} has both uri and id or version")
        return parse_uri(uri, asked_by, own_ids)
    if not pack_id:
        raise BuildFailed("project-toml-bad", reason=f"{asked_by} has no id, no uri and no script")
    return own_source(pack_id, version, asked_by, own_ids)


def _inline(script: Mapping[str, object], pack_id: str, asked_by: str) -> Source:
    api, shell, inline = (_text(script, name, asked_by) for name in ("api", "shell", "inline"))
    place, _, number = asked_by.rpartition(" ")
    list_name = next((name for name in ("pre", "post") if f".{name}." in place), "group")
    name = pack_id or f"inline/{list_name}-{number}"
    for key, value, form in (("api", api, _API), ("shell", shell or "/bin/sh", _SHELL), ("id", name, _ID)):
        if form.fullmatch(value) is None:
            raise BuildFailed("project-toml-bad", reason=f"{asked_by}: {key} cannot be {value[:80]!r}")
    if not inline.strip():
        raise BuildFailed("project-toml-bad", reason=f"{asked_by}: script has no inline")
    return Source(
        kind=SourceKind.INLINE, text=name, location=name, ref="", asked_by=asked_by,
        script=Script(api=api, interpreter=shell or "/bin/sh", inline=inline),
    )  # fmt: skip


def _env(ours: Mapping[str, object]) -> dict[str, str]:
    entries = _table(ours.get("build"), "io.buildpacks.build").get("env", [])
    if not isinstance(entries, list):
        raise BuildFailed("project-toml-bad", reason="io.buildpacks.build.env is not a list of tables")
    found = {}
    for item in entries:
        entry = _table(item, "io.buildpacks.build.env")
        name, value = (_text(entry, key, "io.buildpacks.build.env") for key in ("name", "value"))
        if not name:
            raise BuildFailed("project-toml-bad", reason="an entry of io.buildpacks.build.env has no name")
        found[name] = value
    return found


def _untold(document: Mapping[str, object], ours: Mapping[str, object]) -> tuple[str, ...]:
    """Keys that somebody may have set in the hope of an effect."""
    found = [f"io.buildpacks.{name}" for name in sorted(set(ours) - _KNOWN)]
    if "builder" in ours:
        found.append("io.buildpacks.builder")
    if "build" in document:
        found.append("build (the form of schema 0.1)")
    return tuple(found)


def _table(value: object, where: str) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise BuildFailed("project-toml-bad", reason=f"{where} is not a table")
    return value


def _text(item: Mapping[str, object], name: str, where: str) -> str:
    value = item.get(name, "")
    if not isinstance(value, str):
        raise BuildFailed("project-toml-bad", reason=f"{where}: {name} is not a string")
    return value


def _texts(ours: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = ours.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BuildFailed("project-toml-bad", reason=f"io.buildpacks.{name} is not a list of strings")
    return tuple(value)
