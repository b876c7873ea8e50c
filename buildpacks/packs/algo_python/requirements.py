"""A requirements file as people write it becomes one that a resolver can read, line by line.  Pure.

Rules of this file
1. A line stays at its number, so that whatever is said later of a line is true of the user's own file.
2. Every change is told; nothing is guessed: what cannot be made sense of stays, and the resolver names it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from buildpacks.packs.algo_python.names import (
    ALIASES,
    CONDA_INSIDE_WHEELS,
    MACOS_ONLY,
    NOBODYS,
    WINDOWS_ONLY,
    canonical,
    is_standard_library,
)

NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*([^;#]*)")
INCLUDE = re.compile(r"\s*(?:-r|-c|--requirement|--constraint)[\s=]*(\S+)")
_EDITABLE = re.compile(r"\s*(?:-e|--editable)[\s=]*(.+)")
_EGG = re.compile(r"[#&]egg=([A-Za-z0-9._-]+)(?:\[[^\]]*\])?")
_CONDA = re.compile(r"\s*([A-Za-z0-9_][A-Za-z0-9._-]*)\s*=\s*([0-9][^=\s]*)(?:\s*=\s*\S+)?\s*$")
_FILE = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*@\s*file:(\S+)")
_BUILT = re.compile(
    r"(?:^|[/\\])([A-Za-z0-9.]+(?:[_-][A-Za-z0-9.]+)*?)-(\d[A-Za-z0-9.!+_]*?)(?:-[^/\\]*\.whl|\.tar\.gz|\.zip)"
)
_ELSEWHERE = re.compile(r"\s*(?:[A-Za-z]:[\\/]|\\\\|/|~/|file:)")
_HERE = re.compile(r"\.{1,2}(?:$|[/\\\[])")
_PIP_ONLY = re.compile(
    r"\s*(--(?:trusted-host|prefer-binary|use-feature|use-deprecated|require-hashes|no-deps|no-cache-dir|progress-bar|"
    r"process-dependency-links|global-option|install-option|no-build-isolation|upgrade|user|quiet)\b|-[Uq]\b)"
)
_TORCH_PAGE = re.compile(
    r"\s*(?:-f|-i|--find-links|--index-url|--extra-index-url)[\s=]*\S+/whl/\S*(?:cpu|cu\d+|torch\S*|rocm\S*)"
)
_LOCAL_VERSION = re.compile(r"(==\s*\d[\w.]*)\+(?:cu\d+|cpu|rocm[\d.]+)\b")
_LISTED = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s+(\d[\w.!+]*)(?:\s+\S.*)?$")
_LIST_TOP = re.compile(r"\s*(?:Package\s+Version\b.*|-{3,}\s+-{3,}.*)")


class Cleaned(NamedTuple):
    """One file, readable.

    text      as many lines as the original
    changes   what was done, one sentence a line
    includes  paths of other files as they are written
    bounds    those of them that are constraints: they ask for nothing
    has_self  it asks for the repository itself (`-e .`)
    """

    text: str
    changes: Sequence[str]
    includes: Sequence[str]
    has_self: bool
    bounds: Sequence[str] = ()


class Line(NamedTuple):
    """One line, and what was done to it: '' for nothing."""

    text: str
    change: str = ""


def clean(text: str, path: str) -> Cleaned:
    """Every line made readable. path: for the sentences."""
    lines, changes, includes, bounds = [], [], [], []
    has_self = False
    is_list = bool(re.match(r"\s*Package\s+Version\b", text))
    hashed = False  # the line before ended with a backslash: options of a requirement follow
    for number, raw in enumerate(text.split("\n"), 1):
        bare = raw.split(" #", 1)[0].rstrip()
        include = INCLUDE.match(bare)
        if hashed or not bare.strip() or bare.lstrip().startswith("#"):
            lines.append(raw)
        elif include is not None:
            includes.append(include[1].replace("\\", "/"))
            if bare.lstrip().startswith(("-c", "--constraint")):
                bounds.append(includes[-1])
            lines.append(bare.replace(include[1], includes[-1]))
        else:
            done = _listed(bare) if is_list else _clean_line(bare)
            if done.change == "itself":
                has_self, done = True, Line("", "left out, the repository's own files are there without it")
            lines.append(done.text if done.change else raw)
            if done.change:
                changes.append(f"{path} line {number}: {bare.strip()[:80]}: {done.change}")
        hashed = raw.endswith("\\")
    return Cleaned("\n".join(lines), changes, includes, has_self, bounds)


def _listed(bare: str) -> Line:
    if _LIST_TOP.fullmatch(bare):
        return Line("", "the head of a list, not a package")
    match = _LISTED.match(bare)
    return Line(f"{match[1]}=={match[2]}", f"read as {match[1]}=={match[2]}") if match is not None else Line(bare)


def _clean_line(bare: str) -> Line:
    editable = _EDITABLE.match(bare)
    if editable is not None:
        return _editable(editable[1].strip().strip("\"'"))
    if _HERE.match(bare.strip()):
        return _editable(bare.strip())
    pip_only = _PIP_ONLY.match(bare)
    if pip_only is not None:
        return Line("", "left out, an option of pip that means nothing here")
    if _TORCH_PAGE.match(bare):
        return Line("", "left out, the server chooses where PyTorch's builds come from")
    if bare.lstrip().startswith("-"):
        return Line(bare)
    local = _FILE.match(bare)
    if local is not None:
        return _of_file(local[1], local[2])
    if _ELSEWHERE.match(bare):
        built = _BUILT.search(bare)
        if built is None:
            return Line(bare)
        pin = f"{built[1].replace('_', '-')}=={built[2]}"
        return Line(pin, f"read as {pin}, the file is on another machine")
    conda = _CONDA.match(bare)
    if conda is not None:
        return _named(f"{conda[1]}=={conda[2]}", f"read as {conda[1]}=={conda[2]}", from_conda=True)
    return _named(bare, "", from_conda=False)


def _editable(what: str) -> Line:
    if re.fullmatch(r"\.[/\\]?(?:\[[^\]]*\])?", what):
        return Line("", "itself")
    egg = _EGG.search(what)
    if re.match(r"(?:git|hg|svn|bzr)\+", what) and egg is not None:
        url = what.split("#", 1)[0]
        return Line(f"{egg[1]} @ {url}", "installed as a package, not as a link to a working copy")
    if "://" in what:
        return Line(what, "installed as a package, not as a link to a working copy")
    here = what.replace("\\", "/")
    return Line(here if here.startswith(".") else f"./{here}", "installed as a package, not as a link")


def _of_file(name: str, place: str) -> Line:
    built = _BUILT.search(place)
    if built is not None and canonical(built[1]) == canonical(name):
        return Line(f"{name}=={built[2]}", f"read as {name}=={built[2]}, the file is on another machine")
    return _named(name, f"read as {name} of any version: the file is on another machine, and its name tells none",
                  from_conda=True)  # fmt: skip


def _named(bare: str, change: str, *, from_conda: bool) -> Line:
    match = NAME.match(bare.lstrip(" _"))  # conda marks names that are no packages by an underscore
    if match is None or "://" in bare:
        return Line(bare, change)
    name, written = canonical(match[1]), match[1]
    # What is left out is told in the order of certainty: another system, nobody's, Python's own.
    if name in WINDOWS_ONLY:
        return Line("", "left out, it exists for Windows only")
    if name in MACOS_ONLY:
        return Line("", "left out, it exists for macOS only")
    if name in NOBODYS:
        return Line("", "left out, it is a part of Debian's Python that no index has")
    if name == "python":
        return Line("", "left out, Python is chosen by .python-version")
    if from_conda and name in CONDA_INSIDE_WHEELS:
        return Line("", "left out, wheels hold this library inside")
    if is_standard_library(written):
        return Line("", "left out, it is part of Python")
    meant = ALIASES.get(name, name)
    if meant != name and (from_conda or name in {"sklearn", "skimage", "pytorch", "tensorflow-gpu", "cv2", "pil"}):
        # The dummies of these names have versions of their own, which are none of the package that is meant.
        version = bare.lstrip(" _")[match.end(1) :] if name in {"tensorflow-gpu", "pytorch"} or from_conda else ""
        return Line(f"{meant}{version}", f"read as {meant}{version.strip()}")
    plain = _LOCAL_VERSION.sub(r"\1", bare)
    if plain != bare:
        return Line(plain, f"read as {plain.strip()}, the server chooses the build")
    return Line(bare, change)
