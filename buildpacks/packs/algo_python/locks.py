"""Lock files of other tools as requirement lines: exact versions with their hashes, as they are.

What a lock says decides; no resolver is asked again. Which of its packages belong here is read from its markers and,
for Poetry, from the ways that lead to them from the main group.
Source  PEP 751 (pylock.toml 1.0), Poetry's lock file 1.1 to 2.1, Pipenv's Pipfile.lock
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from buildpacks.packs.algo_python.markers import holds
from buildpacks.packs.algo_python.names import canonical
from buildpacks.packs.cnb import PackFailed

_START = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*(?:==|@|;|$)")
_EXACT = re.compile(
    r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*(?:===?\s*([^\s;]+)|@\s*(\S+))\s*(?:;(.*?))?\s*(?=--hash|#|$)"
)


class Locked(NamedTuple):
    """One package of a lock. source: '' for an index, else what stands behind `name @`."""

    name: str
    version: str
    hashes: Sequence[str]
    marker: str
    source: str = ""


def read_lock(kind: str, data: bytes, project: bytes | None, file: str) -> list[Locked]:
    """Packages of the main group, whatever place their markers mean.

    kind     pylock, poetry-lock, pipfile-lock
    project  pyproject.toml, where Poetry's main group is written
    Raises   PackFailed('lock-bad') with the file and what is wrong
    """
    import json
    import tomllib

    try:
        if kind == "pipfile-lock":
            return list(_pipfile(json.loads(data)))
        document = tomllib.loads(data.decode("utf-8-sig"))
        if kind == "pylock":
            return list(_pylock(document))
        return list(_poetry(document, tomllib.loads(project.decode("utf-8-sig")) if project else {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PackFailed("lock-bad", file=file, message=f"{type(error).__name__}: {error}"[:300]) from error


def render_lock(packages: Sequence[Locked], variables: Mapping[str, str]) -> str:
    """Requirement lines of the packages whose markers hold, sorted by name. Raises PackFailed('marker-bad')."""
    lines = {}
    for package in packages:
        if not holds(package.marker, variables):
            continue
        text = f"{package.name} @ {package.source}" if package.source else f"{package.name}=={package.version}"
        hashes = "".join(f" \\\n    --hash={value}" for value in package.hashes)
        lines[canonical(package.name)] = f"{text}{hashes}\n"
    return "".join(lines[name] for name in sorted(lines))


def parse_lines(text: str) -> list[Locked] | None:
    """A requirements file as a lock; None when a package has no exact version, or no hash and no address."""
    packages = []
    for line in re.sub(r"\\\s*\n", " ", text).split("\n"):
        if not line.strip() or line.lstrip().startswith(("#", "-")):
            continue
        match = _EXACT.match(line)
        hashes = re.findall(r"--hash=(sha\d+:[0-9a-f]+)", line)
        if match is None or not (hashes or match[3]):
            return None
        packages.append(Locked(match[1], match[2] or "", hashes, (match[4] or "").strip(), match[3] or ""))
    return packages


def split_lock(text: str) -> dict[str, str]:
    """Canonical name -> its lines, of a lock in requirement lines."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines(keepends=True):
        match = _START.match(line)
        if match is not None:
            name = canonical(match[1])
            found[name] = line
        elif name and line.startswith((" ", "\t")):
            found[name] += line
    return found


def _pylock(document: Mapping[str, object]) -> Iterator[Locked]:
    for item in _tables(document["packages"]):
        name, marker = str(item["name"]), str(item.get("marker", ""))
        wheels, sdist = _tables(item.get("wheels", [])), item.get("sdist")
        files = [*wheels, *(_tables([sdist]) if sdist else [])]
        if "vcs" in item:
            vcs = _table(item["vcs"])
            yield Locked(name, "", (), marker, f"{vcs['type']}+{vcs['url']}@{vcs['commit-id']}")
        elif "archive" in item:
            archive = _table(item["archive"])
            yield Locked(name, "", _hashes([archive]), marker, str(archive["url"]))
        elif "directory" in item:
            continue  # the repository itself, or a folder of it: its files are there
        else:
            yield Locked(name, str(item["version"]), _hashes(files), marker)


def _hashes(files: Sequence[Mapping[str, object]]) -> list[str]:
    found = [f"sha256:{_table(file['hashes'])['sha256']}" for file in files if "sha256" in _table(file["hashes"])]
    return sorted(set(found))


def _pipfile(document: Mapping[str, object]) -> Iterator[Locked]:
    for name, value in _table(document["default"]).items():
        item = _table(value)
        marker = str(item.get("markers", ""))
        if "git" in item:
            yield Locked(name, "", (), marker, f"git+{item['git']}@{item['ref']}")
        elif "file" in item:
            yield Locked(name, "", _texts(item.get("hashes", [])), marker, str(item["file"]))
        elif "path" not in item:
            version = str(item["version"])
            if not version.startswith("=="):
                raise ValueError(f"{name} has no exact version: {version}")
            yield Locked(name, version.lstrip("="), _texts(item.get("hashes", [])), marker)


def _poetry(document: Mapping[str, object], project: Mapping[str, object]) -> Iterator[Locked]:
    packages = {canonical(str(item["name"])): item for item in _tables(document.get("package", []))}
    metadata = _table(document.get("metadata", {}))
    old_files = {canonical(name): value for name, value in _table(metadata.get("files", {})).items()}
    for name, marker in _reached(packages, project).items():
        item = packages[name]
        files = _tables(item.get("files", None) or old_files.get(name, []))
        hashes = sorted({str(file["hash"]) for file in files})
        source = _table(item.get("source", {}))
        match source.get("type"):
            case "git":
                where = f"git+{source['url']}@{source['resolved_reference']}"
                yield Locked(str(item["name"]), "", (), marker, where)
            case "url":
                yield Locked(str(item["name"]), "", hashes, marker, str(source["url"]))
            case "directory" | "file":
                continue  # a folder of the repository: its files are there
            case _:
                yield Locked(str(item["name"]), str(item["version"]), hashes, marker)


def _reached(packages: Mapping[str, Mapping[str, object]], project: Mapping[str, object]) -> dict[str, str]:
    """Canonical name -> the marker under which the main group needs it, '' for always.

    Why  Poetry 1.5 to 1.8 write no group into the lock: only the ways that lead to a package tell
    """
    if all("groups" in item for item in packages.values()) and packages:
        return {name: _own_marker(item) for name, item in packages.items() if "main" in _texts(item["groups"])}
    waiting = [(canonical(name), marker) for name, marker in _main_group(project)]
    ways: dict[str, set[str]] = {}
    while waiting:
        name, marker = waiting.pop()
        known = ways.setdefault(name, set())
        if name not in packages or marker in known or "" in known:
            continue
        known.add(marker)
        for needed, own in _needs(packages[name]):
            waiting.append((canonical(needed), _both(marker, own)))
    return {
        name: "" if "" in markers else " or ".join(f"({marker})" for marker in sorted(markers))
        for name, markers in ways.items()
        if name in packages
    }


def _own_marker(item: Mapping[str, object]) -> str:
    marker = item.get("markers", "")
    return str(marker.get("main", "")) if isinstance(marker, dict) else str(marker)


def _main_group(project: Mapping[str, object]) -> list[tuple[str, str]]:
    tool = _table(_table(project.get("tool", {})).get("poetry", {}))
    found = []
    for name, value in _table(tool.get("dependencies", {})).items():
        item = value if isinstance(value, dict) else {}
        if canonical(name) != "python" and not item.get("optional", False):
            found.append((name, str(item.get("markers", ""))))
    specs = _texts(_table(project.get("project", {})).get("dependencies", []))
    found += [(re.split(r"[^A-Za-z0-9._-]", spec, maxsplit=1)[0], spec.partition(";")[2].strip()) for spec in specs]
    return found


def _needs(item: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in _table(item.get("dependencies", {})).items():
        for one in value if isinstance(value, list) else [value]:
            table = one if isinstance(one, dict) else {}
            if not table.get("optional", False):
                yield name, str(table.get("markers", ""))


def _both(one: str, other: str) -> str:
    if not one or not other or one == other:
        return one or other
    return f"({one}) and ({other})"


def _table(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError("a table was expected")
    return value


def _tables(value: object) -> list[Mapping[str, object]]:
    if not isinstance(value, list):
        raise TypeError("a list of tables was expected")
    return [_table(item) for item in value]


def _texts(value: object) -> list[str]:
    if not isinstance(value, list):
        raise TypeError("a list was expected")
    return [str(item) for item in value]
