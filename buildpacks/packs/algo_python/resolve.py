"""What an app asks for becomes a lock: exact versions with hashes, which stays until the question changes."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from buildpacks.packs.algo_python.credentials import INDEX_NAMES
from buildpacks.packs.algo_python.install import for_platform
from buildpacks.packs.algo_python.interpreter import Interpreter
from buildpacks.packs.algo_python.manager import Manager, canonical, hide_secrets
from buildpacks.packs.cnb import Context, PackFailed, detail

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)
_NOT_ABOUT_VERSIONS = frozenset({
    "index-unreachable", "index-denied", "index-secret-refused", "no-space", "requirements-syntax",
})  # fmt: skip
_CHOICES = ("BP_GPU", "BP_CPU_BUILDS")
_ALSO = "also"
_OPTION = re.compile(r"\s*(?:-i|-f|--index-url|--extra-index-url|--find-links|--no-index)\b[^#\n]*")

_PRE = re.compile(r"^\s*--pre\b", re.MULTILINE)


class Extra(NamedTuple):
    """A package that another buildpack needs. written_by: the version that wrote a model file, '' for none.

    beside  the package for whose exact version it is needed: a user who decides that one decides this one
    kind    of the model file that it is for, as ModelFile.kind says
    """

    name: str
    spec: str
    why: str
    written_by: str
    beside: str = ""
    kind: str = ""


def read_extras(wants: Sequence[Mapping[str, object]]) -> list[Extra]:
    """Packages out of the plan's entries, one per name: the first that asks decides."""
    found: dict[str, Extra] = {}
    for want in wants:
        packages = want.get("packages", [])
        for item in packages if isinstance(packages, list) else []:
            spec = str(item["spec"])
            name = canonical(re.split(r"[=<>!~\[; ]", spec, maxsplit=1)[0])
            found.setdefault(
                name,
                Extra(name, spec, *(str(item.get(key, "")) for key in ("why", "written_by", "beside", "kind"))),
            )
    return list(found.values())


def needed(extras: Sequence[Extra], manager: Manager) -> list[Extra]:
    """Those extras that still matter: a user who gives a package a version decides it.

    A package that the user names without a version keeps the extra's exact one (it wrote the model file).
    """
    kept = []
    for extra in extras:
        mine = manager.named.get(extra.name)
        if extra.beside and (manager.named.get(extra.beside) or manager.bounded.get(extra.beside)):
            continue
        if extra.name in manager.bounded:
            kept.append(extra._replace(spec=extra.name))  # the user's constraint says which version
        elif mine is None or (mine == "" and "==" in extra.spec):
            kept.append(extra)
    return kept


def inputs_key(manager: Manager, extras: Sequence[Extra], python: Interpreter, env: Mapping[str, str]) -> str:
    """sha256 of the question: the same key means that the old lock still answers it."""
    question = {
        "files": [(path, hashlib.sha256(data).hexdigest()) for path, data in sorted(manager.files.items())],
        "kind": manager.kind,
        "extras": [extra.spec for extra in extras],
        "python": python.minor,
        "platform": env.get("ALGO_PLATFORM", ""),
        "indexes": [(name, hide_secrets(env[name])) for name in INDEX_NAMES if env.get(name)],
        # A second image beside it changes nothing of the first one's question.
        "choices": [
            (name, env[name]) for name in _CHOICES if env.get(name) and not (name == "BP_GPU" and wants_both(env))
        ],
    }
    return hashlib.sha256(repr(sorted(question.items())).encode()).hexdigest()


def wants_both(env: Mapping[str, str]) -> bool:
    """The app asks for a second image, for graphics cards, beside the one for processors."""
    return env.get("BP_GPU", "").lower() == _ALSO


def make_lock(context: Context, manager: Manager, extras: Sequence[Extra], python: Interpreter) -> str:
    """What is installed, exactly: the user's own lock with what serving needs beside it, or what uv resolves.

    Raises  PackFailed, see uv.explain_uv
    """
    from buildpacks.packs.algo_python.cuda import warn_of_twice  # late: most pushes ask nothing new

    os.makedirs(f"{context.layers}/scratch", exist_ok=True)  # noqa: PTH103 -- no pathlib in buildpacks
    if manager.kind == "uv" or manager.locked is not None:
        lock = _beside(context, manager, extras, python, _own_lock(context, manager, python))
        warn_of_twice(context, python, pins(lock))
        return lock
    sources = _sources(context, manager, extras)
    if not sources:
        return ""
    from buildpacks.packs.algo_python.locks import keep_hashes
    from buildpacks.packs.algo_python.variants import use_cpu_builds  # late: most pushes ask nothing new

    lock = keep_hashes(_bounded(context, manager, python, sources), manager.texts.values())
    lock = use_cpu_builds(context, manager, python, lock)
    warn_of_twice(context, python, pins(lock))
    return _options(manager) + lock


def lock_beside(
    context: Context, manager: Manager, extras: Sequence[Extra], python: Interpreter, bounds: Mapping[str, str]
) -> str:
    """What the default index has for the same question, within the versions of another answer to it.

    bounds  canonical name -> version; what is not in it is free
    Raises  PackFailed, see uv.explain_uv
    """
    from buildpacks.packs.algo_python.cuda import warn_of_twice
    from buildpacks.packs.algo_python.locks import keep_hashes

    os.makedirs(f"{context.layers}/scratch", exist_ok=True)  # noqa: PTH103 -- no pathlib in buildpacks
    path = f"{context.layers}/scratch/beside.txt"
    with open(path, "w", encoding="utf-8") as file:
        file.write("".join(f"{name}=={version}\n" for name, version in sorted(bounds.items())))
    sources = _sources(context, manager, extras)
    lock = keep_hashes(_compile(context, manager, python, sources, "--constraints", path), manager.texts.values())
    warn_of_twice(context, python, pins(lock))
    return _options(manager) + lock


def pins(lock: str) -> dict[str, str]:
    """Canonical name -> version of everything in a lock."""
    return {canonical(name): version for name, version in _PIN.findall(lock)}


def _sources(context: Context, manager: Manager, extras: Sequence[Extra]) -> list[str]:
    """Files for uv: the user's own or the cleaned ones in their place, and what serving needs."""
    from buildpacks.packs.algo_python.uv import ASKED

    asked = f"{context.layers}/scratch/{ASKED}"
    for path, text in manager.texts.items():
        os.makedirs(os.path.dirname(f"{asked}/{path}"), exist_ok=True)  # noqa: PTH103, PTH120 -- no pathlib in buildpacks
        with open(f"{asked}/{path}", "w", encoding="utf-8") as file:
            file.write(text)
    own = manager.file if manager.kind != "none" else ""
    if manager.texts:
        own = f"{asked}/{next(iter(manager.texts))}"
    # conda's includes stand beside its list, not in it.
    included = [f"{asked}/{path}" for path in list(manager.texts)[1:]] if manager.kind == "conda" else []
    needed_file = _write_extras(context, extras)
    return [source for source in (own, *included, needed_file) if source]


def _write_extras(context: Context, extras: Sequence[Extra]) -> str:
    if not extras:
        return ""
    path = f"{context.layers}/scratch/needed-to-serve.txt"
    with open(path, "w", encoding="utf-8") as file:
        file.write("".join(f"{extra.spec}\n" for extra in extras))
    return path


def _bounded(context: Context, manager: Manager, python: Interpreter, sources: Sequence[str]) -> str:
    """Resolve with bounds for what is known to clash; without them where they leave no solution."""
    from buildpacks.packs.algo_python.clashes import find_bounds

    bounds = find_bounds(manager.named)
    if not bounds:
        return _compile(context, manager, python, sources)
    path = f"{context.layers}/scratch/known-clashes.txt"
    with open(path, "w", encoding="utf-8") as file:
        file.write("".join(f"{clash.dep}{clash.bound}\n" for clash in bounds))
    try:
        lock = _compile(context, manager, python, sources, "--constraints", path)
    except PackFailed as failed:
        if failed.code in _NOT_ABOUT_VERSIONS:
            raise  # the same would be said once more, after the same wait
        return _compile(context, manager, python, sources)
    locked = pins(lock)
    for clash in bounds:
        if clash.dep in locked:
            version = manager.named[clash.name].lstrip("= ")
            detail(f"Added {clash.dep}{clash.bound}: {clash.name} {version} needs it")
    return lock


def _compile(context: Context, manager: Manager, python: Interpreter, sources: Sequence[str], *options: str) -> str:
    from buildpacks.packs.algo_python.uv import run_uv

    output = f"{context.layers}/scratch/lock.txt"
    command = [
        "pip", "compile", *sources, *options, "--generate-hashes", "--no-annotate", "--no-header", "--python",
        python.path, "--output-file", output, "--upgrade", "--quiet", *for_platform(context.env, python),
    ]  # fmt: skip
    if context.env.get("ALGO_WHEELS_ONLY") == "1":
        command.append("--no-build")
    if any(_PRE.search(text) for text in manager.texts.values()):
        command += ["--prerelease", "allow"]
    run_uv(command, context.env, cwd=context.app, manager=manager, python=python.full)
    with open(output, encoding="utf-8") as file:
        return file.read()


def _options(manager: Manager) -> str:
    """Lines before the packages of a lock: what is in folders of the repository, and indexes that the user's own lines
    name. What was found there is fetched from there; they hold no secret.
    """
    from buildpacks.packs.algo_python.folders import render_notes

    found = [
        line.strip() for text in manager.texts.values() for line in text.split("\n") if _OPTION.fullmatch(line)
    ]  # fmt: skip
    return render_notes(manager.files) + "".join(f"{line}\n" for line in dict.fromkeys(found))


def _own_lock(context: Context, manager: Manager, python: Interpreter) -> str:
    """The lock of the user, for this place: exact versions and hashes as they are."""
    from buildpacks.packs.algo_python.locks import parse_lines, render_lock
    from buildpacks.packs.algo_python.markers import marker_env
    from buildpacks.packs.algo_python.variants import CUDA, wants_gpu

    packages = manager.locked
    if packages is None:
        packages = parse_lines(_export(context, manager, python))
        if packages is None:
            raise PackFailed("lock-bad", file=manager.file, message="a package without a version or without hashes")
    lock = render_lock(packages, marker_env(python, context.env, os.uname().machine))
    libraries = [name for name in pins(lock) if CUDA.fullmatch(name)]
    if libraries and not wants_gpu(context.env):
        many = "y" if len(libraries) == 1 else "ies"
        detail(f"{manager.file} locks {len(libraries)} CUDA librar{many}, and a lock is taken as it is: lock builds "
               "for processors to do without")  # fmt: skip
    return _options(manager) + lock


def _beside(context: Context, manager: Manager, extras: Sequence[Extra], python: Interpreter, lock: str) -> str:
    """The user's lock, and what serving needs besides: resolved so that it fits, changing nothing of the lock."""
    from buildpacks.packs.algo_python.locks import split_lock

    locked = pins(lock)
    path = _write_extras(context, [extra for extra in extras if extra.name not in locked])
    if not path:
        return lock
    fixed = f"{context.layers}/scratch/locked.txt"
    with open(fixed, "w", encoding="utf-8") as file:
        file.write("".join(f"{name}=={version}\n" for name, version in locked.items()))
    more = split_lock(_compile(context, manager, python, [path], "--constraints", fixed))
    return lock + "".join(text for name, text in more.items() if name not in locked)


def _export(context: Context, manager: Manager, python: Interpreter) -> str:
    from buildpacks.packs.algo_python.uv import run_uv

    # --frozen: the lock is what the user tested; whether it still fits pyproject.toml is theirs to say.
    return run_uv(
        ["export", "--frozen", "--no-dev", "--no-emit-project", "--no-header", "--no-annotate", "--format",
         "requirements-txt", "--python", python.path, "--quiet"],
        context.env, cwd=context.app, manager=manager, python=python.full,
    )  # fmt: skip
