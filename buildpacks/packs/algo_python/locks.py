"""Lock files of other tools as requirement lines: exact versions with their hashes, as they are.

What a lock says decides; no resolver is asked again. Which of its packages belong here is read from its markers and,
for Poetry, from the ways that lead to them from the main group.
Source  PEP 751 (pylock.toml 1.0), Poetry's lock file 1.1 to 2.1, Pipenv's Pipfile.lock
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from buildpacks.packs.algo_python.markers import holds
from buildpacks.packs.algo_python.names import canonical
from buildpacks.packs.cnb import PackFailed

_START = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*(?:==|@|;|$)")
_EXACT = re.compile(
    r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*(?:===?\s*([^\s;]+)|@\s*(\S+))\s*(?:;(.*?))?\s*(?=--hash|#|$)"
)

_HASHES = re.compile(r"--hash=(sha\d+:[0-9a-f]+)")
_FOLDER = re.compile(r"\s*(?:(?:-e|--editable)\s+)?(\./\S+)\s*(?:;(.*))?$")
_IN_GROUPS = re.compile(r"([\"'])([^\"']*)\1\s+(not\s+)?in\s+(dependency_groups|extras)\b")


class Locked(NamedTuple):
    """One package of a lock. source: '' for an index, else what stands behind `name @`.

    A folder of the repository has neither version nor source: its name is `./folder`.
    """

    name: str
    version: str
    hashes: Sequence[str]
    marker: str
    source: str = ""


def parse_lock(kind: str, data: bytes, file: str) -> Mapping[str, object]:
    """The document, once for all who read of it: a lock of a few hundred packages takes longest of all files here.

    Raises  PackFailed('lock-bad')
    """
    import json
    import tomllib

    try:
        return _table(json.loads(data) if kind == "pipfile-lock" else tomllib.loads(data.decode("utf-8-sig")))
    except (ValueError, TypeError, RecursionError) as error:
        raise PackFailed("lock-bad", file=file, message=f"{type(error).__name__}: {error}"[:300]) from error


def read_lock(kind: str, document: Mapping[str, object], project: bytes | None, file: str) -> list[Locked]:
    """Packages of the main group, whatever place their markers mean.

    kind      pylock, poetry-lock, pipfile-lock
    document  see parse_lock
    project   pyproject.toml, where Poetry's main group is written
    Raises    PackFailed('lock-bad') with the file and what is wrong
    """
    import tomllib

    try:
        if kind == "pipfile-lock":
            return list(_pipfile(document))
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
        if package.source:
            text = f"{package.name} @ {package.source}"
        else:
            text = f"{package.name}=={package.version}" if package.version else package.name
        hashes = "".join(f" \\\n    --hash={value}" for value in package.hashes)
        lines[package.name if package.name.startswith("./") else canonical(package.name)] = f"{text}{hashes}\n"
    return "".join(lines[name] for name in sorted(lines))


def parse_lines(text: str) -> list[Locked] | None:
    """A requirements file as a lock; None when a package has no exact version, or no hash and no address."""
    packages = []
    for line in _joined(text):
        folder = _FOLDER.match(line)
        if folder is not None:
            packages.append(Locked(folder[1], "", (), (folder[2] or "").strip()))
            continue
        if not line.strip() or line.lstrip().startswith(("#", "-")):
            continue
        match = _EXACT.match(line)
        hashes = _HASHES.findall(line)
        if match is None or not (hashes or match[3]):
            return None
        packages.append(Locked(match[1], match[2] or "", hashes, (match[4] or "").strip(), match[3] or ""))
    return packages


def keep_hashes(lock: str, texts: Iterable[str]) -> str:
    """A lock with the hashes that the user's lines give, in place of those that an index gives for the same package.

    Why  who writes a hash means that file; a resolver that locks anew would trust whatever the index has today
    """
    given = {}
    for line in _joined("\n".join(texts)):
        match, hashes = _START.match(line.lstrip()), _HASHES.findall(line)
        if match is not None and hashes:
            given[canonical(match[1])] = hashes
    if not given:
        return lock
    packages = split_lock(lock)
    for name in given.keys() & packages.keys():
        first = packages[name].split("\n", 1)[0].rstrip(" \\")
        packages[name] = first + "".join(f" \\\n    --hash={value}" for value in given[name]) + "\n"
    return "".join(packages.values())


def _joined(text: str) -> list[str]:
    """Lines, with those that a backslash continues."""
    return re.sub(r"\\\s*\n", " ", text).split("\n")


def split_lock(text: str) -> dict[str, str]:
    """Canonical name -> its lines, of a lock in requirement lines; `./folder` is named by itself."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines(keepends=True):
        match = _START.match(line)
        if match is not None:
            name = canonical(match[1])
            found[name] = line
        elif name and line.startswith((" ", "\t")):
            found[name] += line
        elif line.strip() and not line.startswith(("#", "-")):
            name = line.strip()
            found[name] = line
    return found


def _folder(path: str, marker: str) -> Iterator[Locked]:
    path = path.removeprefix("./").rstrip("/")
    if path not in {"", "."}:  # the repository itself: its files are there
        yield Locked(f"./{path}", "", (), marker)


def _pylock(document: Mapping[str, object]) -> Iterator[Locked]:
    groups = _texts(document.get("default-groups", []))

    def judge(match: re.Match[str]) -> str:
        is_in = match[4] == "dependency_groups" and match[2] in groups
        return "os_name == 'posix'" if is_in is not bool(match[3]) else "os_name == 'none'"

    for item in _tables(document["packages"]):
        name, marker = str(item["name"]), _IN_GROUPS.sub(judge, str(item.get("marker", "")))
        wheels, sdist = _tables(item.get("wheels", [])), item.get("sdist")
        files = [*wheels, *(_tables([sdist]) if sdist else [])]
        if "vcs" in item:
            vcs = _table(item["vcs"])
            yield Locked(name, "", (), marker, f"{vcs['type']}+{vcs['url']}@{vcs['commit-id']}")
        elif "archive" in item:
            archive = _table(item["archive"])
            yield Locked(name, "", _hashes([archive]), marker, str(archive["url"]))
        elif "directory" in item:
            yield from _folder(str(_table(item["directory"])["path"]), marker)
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
        elif "path" in item:
            yield from _folder(str(item["path"]), marker)
        else:
            version = str(item["version"])
            if not version.startswith("=="):
                raise ValueError(f"{name} has no exact version: {version}")
            yield Locked(name, version.lstrip("="), _texts(item.get("hashes", [])), marker)


def _poetry(document: Mapping[str, object], project: Mapping[str, object]) -> Iterator[Locked]:
    metadata = _table(document.get("metadata", {}))
    old_files = {canonical(name): value for name, value in _table(metadata.get("files", {})).items()}
    for item, marker in _main_items(_tables(document.get("package", [])), project):
        files = _tables(item.get("files", None) or old_files.get(canonical(str(item["name"])), []))
        hashes = sorted({str(file["hash"]) for file in files})
        source = _table(item.get("source", {}))
        match source.get("type"):
            case "git":
                where = f"git+{source['url']}@{source['resolved_reference']}"
                yield Locked(str(item["name"]), "", (), marker, where)
            case "url":
                yield Locked(str(item["name"]), "", hashes, marker, str(source["url"]))
            case "directory" | "file":
                yield from _folder(str(source["url"]), marker)
            case _:
                yield Locked(str(item["name"]), str(item["version"]), hashes, marker)


def _main_items(
    items: Sequence[Mapping[str, object]], project: Mapping[str, object]
) -> Iterator[tuple[Mapping[str, object], str]]:
    """Packages of the main group, each with the marker under which it is needed, '' for always.

    A package may be there in several versions: since Poetry 2 their markers say which is meant where.
    """
    if all("groups" in item for item in items):
        yield from ((item, _own_marker(item)) for item in items if "main" in _texts(item["groups"]))
        return
    packages = {canonical(str(item["name"])): item for item in items}
    names = [canonical(str(item["name"])) for item in items]
    for name, marker in _reached(packages, project).items():
        if names.count(name) > 1:
            raise ValueError(
                f"{name} is there in several versions, and only a lock of Poetry 2 says which is for where"
            )
        yield packages[name], marker


def _reached(packages: Mapping[str, Mapping[str, object]], project: Mapping[str, object]) -> dict[str, str]:
    """Canonical name -> the marker under which the main group needs it, '' for always.

    Why  Poetry 1.5 to 1.8 write no group into the lock: only the ways that lead to a package tell. A way is a set of
         markers, so that a circle of packages comes to its end
    """
    waiting = [(canonical(name), frozenset({marker} - {""}), extras) for name, marker, extras in _main_group(project)]
    ways: dict[str, set[frozenset[str]]] = {}
    seen: dict[tuple[str, str], set[frozenset[str]]] = {}
    while waiting:
        name, way, extras = waiting.pop()
        if name not in packages:
            continue
        ways.setdefault(name, set()).add(way)
        for extra in ("", *extras):
            known = seen.setdefault((name, extra), set())
            if any(other <= way for other in known):
                continue
            known.add(way)
            for needed, own, more in _needs(packages[name], extra):
                waiting.append((canonical(needed), way | ({own} - {""}), more))
    return {name: _either(found) for name, found in ways.items()}


def _either(ways: set[frozenset[str]]) -> str:
    if frozenset() in ways:
        return ""
    shortest = [way for way in ways if not any(other < way for other in ways)]
    return " or ".join(sorted("(" + " and ".join(f"({marker})" for marker in sorted(way)) + ")" for way in shortest))


def _own_marker(item: Mapping[str, object]) -> str:
    marker = item.get("markers", "")
    return str(marker.get("main", "")) if isinstance(marker, dict) else str(marker)


def _main_group(project: Mapping[str, object]) -> list[tuple[str, str, list[str]]]:
    """(name, marker, extras) of what the project itself asks for."""
    tool = _table(_table(project.get("tool", {})).get("poetry", {}))
    found = []
    for name, value in _table(tool.get("dependencies", {})).items():
        item = value if isinstance(value, dict) else {}
        if canonical(name) != "python" and not item.get("optional", False):
            found.append((name, str(item.get("markers", "")), _texts(item.get("extras", []))))
    specs = _texts(_table(project.get("project", {})).get("dependencies", []))
    for spec in specs:
        match = re.match(r"([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?", spec)
        if match is not None:
            extras = [part.strip() for part in (match[2] or "").split(",") if part.strip()]
            found.append((match[1], spec.partition(";")[2].strip(), extras))
    return found


def _needs(item: Mapping[str, object], extra: str) -> Iterator[tuple[str, str, list[str]]]:
    """(name, marker, extras) of what a package needs; with an extra, of what that one adds."""
    extras = {canonical(name): value for name, value in _table(item.get("extras", {})).items()}
    added = {canonical(re.split(r"[^A-Za-z0-9._-]", spec, maxsplit=1)[0]) for spec in
             _texts(extras.get(canonical(extra), []))} if extra else set()  # fmt: skip
    for name, value in _table(item.get("dependencies", {})).items():
        for one in value if isinstance(value, list) else [value]:
            table = one if isinstance(one, dict) else {}
            if canonical(name) in added if extra else not table.get("optional", False):
                # `extra == "x"` says the same as the list of extras, which is how we came here.
                marker = "" if extra and "extra ==" in str(table.get("markers", "")) else str(table.get("markers", ""))
                yield name, marker, _texts(table.get("extras", []))


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
