"""What an app asks for becomes a lock: exact versions with hashes, which stays until the question changes."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from buildpacks.packs.algo_python.install import for_platform
from buildpacks.packs.algo_python.interpreter import Interpreter
from buildpacks.packs.algo_python.manager import Manager, canonical, hide_secrets
from buildpacks.packs.cnb import Context

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)
_INDEX_NAMES = (
    "UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_NO_INDEX",
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX",
)  # fmt: skip


class Extra(NamedTuple):
    """A package that another buildpack needs. written_by: the version that wrote a model file, '' for none.

    beside  the package for whose exact version it is needed: a user who decides that one decides this one
    """

    name: str
    spec: str
    why: str
    written_by: str
    beside: str = ""


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
                Extra(
                    name, spec, str(item.get("why", "")), str(item.get("written_by", "")), str(item.get("beside", ""))
                ),
            )
    return list(found.values())


def needed(extras: Sequence[Extra], manager: Manager) -> list[Extra]:
    """Those extras that still matter: a user who gives a package a version decides it.

    A package that the user names without a version keeps the extra's exact one (it wrote the model file).
    """
    kept = []
    for extra in extras:
        mine = manager.named.get(extra.name)
        if extra.beside and manager.named.get(extra.beside):
            continue
        if mine is None or (mine == "" and "==" in extra.spec):
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
        "indexes": [(name, hide_secrets(env[name])) for name in _INDEX_NAMES if env.get(name)],
    }
    return hashlib.sha256(repr(sorted(question.items())).encode()).hexdigest()


def make_lock(context: Context, manager: Manager, extras: Sequence[Extra], python: Interpreter) -> str:
    """Ask uv. The user's file and the extras are resolved together, so one consistent set comes out.

    Raises  PackFailed, see uv.explain_uv
    """
    from buildpacks.packs.algo_python.uv import run_uv  # late: most pushes ask nothing new

    scratch = f"{context.layers}/scratch"
    os.makedirs(scratch, exist_ok=True)  # noqa: PTH103 -- no pathlib in buildpacks
    sources = []
    if manager.kind == "uv":
        sources.append(_export(context, manager, python, scratch))
    elif manager.kind != "none":
        sources.append(manager.file)
    if extras:
        with open(f"{scratch}/needed-to-serve.txt", "w", encoding="utf-8") as file:
            file.write("".join(f"{extra.spec}\n" for extra in extras))
        sources.append(f"{scratch}/needed-to-serve.txt")
    if not sources:
        return ""
    command = [
        "pip", "compile", *sources, "--generate-hashes", "--no-annotate", "--no-header", "--python", python.path,
        "--output-file", f"{scratch}/lock.txt", "--quiet", *for_platform(context.env, python),
    ]  # fmt: skip
    if context.env.get("ALGO_WHEELS_ONLY") == "1":
        command.append("--no-build")
    run_uv(command, context.env, cwd=context.app, manager=manager, python=python.full)
    with open(f"{scratch}/lock.txt", encoding="utf-8") as file:
        return file.read()


def pins(lock: str) -> dict[str, str]:
    """Canonical name -> version of everything in a lock."""
    return {canonical(name): version for name, version in _PIN.findall(lock)}


def _export(context: Context, manager: Manager, python: Interpreter, scratch: str) -> str:
    from buildpacks.packs.algo_python.uv import run_uv

    # --frozen: the lock is what the user tested; whether it still fits pyproject.toml is theirs to say.
    text = run_uv(
        ["export", "--frozen", "--no-dev", "--no-emit-project", "--no-hashes", "--no-header", "--no-annotate",
         "--format", "requirements-txt", "--python", python.path, "--quiet"],
        context.env, cwd=context.app, manager=manager, python=python.full,
    )  # fmt: skip
    with open(f"{scratch}/uv.lock.txt", "w", encoding="utf-8") as file:
        file.write(text)
    return f"{scratch}/uv.lock.txt"
