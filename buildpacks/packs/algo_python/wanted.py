"""Which Python a repository asks for, and where it says so: the reason is printed, so that no version is a surprise."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from buildpacks.packs.cnb import PackFailed
from buildpacks.packs.cog_yaml import FILE as COG
from buildpacks.packs.cog_yaml import read_build

_PIN = re.compile(r"(?:cpython[-@]|python-)?(\d+)\.(\d+)(?:\.(\d+))?")
_RUNTIME = re.compile(r"(?:python)?[-=\s]*v?(\d)\.(\d+)(?:\.(\d+|x|\*))?", re.IGNORECASE)
_CLAUSE = re.compile(r"\s*(===|==|~=|!=|<=|>=|<|>)\s*(\d+(?:\.\d+)*)(\.\*)?\s*")
_MAX_BYTES = 4096


class Wanted(NamedTuple):
    """What is asked for.

    spec    PEP 440 clauses, '' for any
    reason  as it is printed: the file that says so, or 'default'
    exact   the whole version where only its minor is insisted on: '3.11.4'
    note    a sentence for the log, '' for none
    """

    spec: str
    reason: str
    exact: str = ""
    note: str = ""


def read_wanted(app: str, files: Mapping[str, bytes], declared: Wanted | None = None) -> Wanted:
    """.python-version, runtime.txt, .tool-versions, cog.yaml, then what the dependency files say; else any.

    declared  what the package manager's own file says
    Raises    PackFailed('python-version-bad')
    """
    found = _python_version(app) or _runtime(app) or _tool_versions(app) or _cog(app)
    if found is not None:
        return found
    if declared is not None and declared.spec:
        return _checked(declared)
    for name in ("pyproject.toml", "uv.lock"):
        spec = _requires_python(app, name, files)
        if spec:
            return _checked(Wanted(spec, f"requires-python {spec} in {name}"))
    return Wanted("", "default")


def satisfies(version: tuple[int, int, int], spec: str) -> bool | None:
    """The version meets every clause; None when spec is none that we can read. Source: PEP 440, release segments."""
    verdict = True
    for clause in filter(None, (part.strip() for part in spec.split(","))):
        match = _CLAUSE.fullmatch(clause)
        if match is None:
            return None
        numbers = tuple(int(part) for part in match[2].split("."))
        verdict = verdict and _meets(version, match[1], numbers, wildcard=match[3] is not None)
    return verdict


def _checked(wanted: Wanted) -> Wanted:
    if satisfies((3, 11, 0), wanted.spec) is None:
        place = wanted.reason.rpartition(" in ")[2]
        raise PackFailed("python-version-bad", file=place, found=wanted.spec[:80])
    return wanted


def _python_version(app: str) -> Wanted | None:
    lines = [line.strip() for line in _text(app, ".python-version").splitlines()]
    text = next((line for line in lines if line[:1] not in {"", "#"}), "")
    if not text:
        return None
    match = _PIN.fullmatch(text)
    if match is None:
        raise PackFailed("python-version-bad", file=".python-version", found=text[:80])
    spec = f"=={match[1]}.{match[2]}.{match[3]}" if match[3] else f"=={match[1]}.{match[2]}.*"
    return Wanted(spec, ".python-version")


def _runtime(app: str) -> Wanted | None:
    text = _text(app, "runtime.txt").strip()
    if not text or text.lower().startswith("r-"):  # another language's, of another platform
        return None
    match = _RUNTIME.fullmatch(text)
    if match is None:
        raise PackFailed("python-version-bad", file="runtime.txt", found=" ".join(text.split())[:80])
    minor = f"{match[1]}.{match[2]}"
    exact = f"{minor}.{match[3]}" if (match[3] or "").isdigit() else ""
    note = f"runtime.txt is deprecated: git rm runtime.txt && echo {minor} > .python-version"
    return Wanted(f"=={minor}.*", "runtime.txt", exact, note)


def _tool_versions(app: str) -> Wanted | None:
    match = re.search(r"^python[ \t]+(\d+)\.(\d+)(?:\.(\d+))?\b", _text(app, ".tool-versions"), re.MULTILINE)
    if match is None:
        return None
    minor = f"{match[1]}.{match[2]}"
    return Wanted(f"=={minor}.*", ".tool-versions", f"{minor}.{match[3]}" if match[3] else "")


def _cog(app: str) -> Wanted | None:
    version = read_build(app).get("python_version")
    if not isinstance(version, str) or not version:
        return None
    match = _PIN.fullmatch(version)
    if match is None:
        raise PackFailed("python-version-bad", file=COG, found=version[:80])
    minor = f"{match[1]}.{match[2]}"
    return Wanted(f"=={minor}.*", COG, f"{minor}.{match[3]}" if match[3] else "")


def _text(app: str, name: str) -> str:
    try:
        with open(f"{app}/{name}", "rb") as file:
            data = file.read(_MAX_BYTES)
    except (FileNotFoundError, IsADirectoryError):
        return ""
    from buildpacks.packs.algo_python.decoding import decode  # late: most repositories have none of these files

    return decode(data)[0]


def _requires_python(app: str, name: str, files: Mapping[str, bytes]) -> str:
    data = files.get(name)
    if data is None:
        try:
            with open(f"{app}/{name}", "rb") as file:
                data = file.read(4 << 20)
        except (FileNotFoundError, IsADirectoryError):
            return ""
    import tomllib

    try:
        document = tomllib.loads(data.decode("utf-8-sig"))
    except ValueError:
        return ""  # manager.py says what is wrong with it
    table = document.get("project", {}) if name == "pyproject.toml" else document
    return str(table.get("requires-python", "")) if isinstance(table, dict) else ""


def _meets(version: tuple[int, int, int], operator: str, numbers: tuple[int, ...], *, wildcard: bool) -> bool:
    padded = (*numbers, 0, 0, 0)[:3]
    match operator:
        case "==" | "===":
            return version[: len(numbers)] == numbers[:3] if wildcard else version == padded
        case "!=":
            return version[: len(numbers)] != numbers[:3] if wildcard else version != padded
        case "~=":
            return version >= padded and version[: len(numbers) - 1] == numbers[:-1]
        case ">=":
            return version >= padded
        case "<=":
            return version <= padded
        case ">":
            return version > padded
        case _:
            return version < padded
