"""The one door to uv: how it is called, and what its errors mean in the user's terms."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence

from buildpacks.packs.algo_python.credentials import hide
from buildpacks.packs.algo_python.manager import Manager, canonical, hide_secrets
from buildpacks.packs.cnb import PackFailed

_NOT_FOUND = re.compile(r"Because (\S+) was not found in the (?:package registry|provided package locations)")
_NO_VERSION = re.compile(r"(?:there (?:is|are) no versions? of|only) ([A-Za-z0-9._-]+)((?:[=<>!~]=?=?)\S+)?")
_NEEDS_PYTHON = re.compile(
    r"the (?:current|requested) Python version \(([^)]+)\) does not satisfy \S+ and ([A-Za-z0-9._-]+?)==\S+ depends on "
    r"Python(\S+?),?\s"
)
_PLACE = re.compile(r"^error: (.+): ([^:\n]+):(\d+):\d+$", re.MULTILINE)
_PARSE = re.compile(r"Couldn't parse requirement in `([^`]+)` at position (\d+)\s*\n\s*cause: (.+)")
NETWORK = re.compile(r"Failed to fetch|error sending request|dns error|[Cc]onnection refused|operation timed out")
_URL = re.compile(r"https?://[^\s`)]+")
_DENIED = re.compile(
    r"HTTP status client error \((401|403|407)|status code (401|403)|[Uu]nauthorized|Missing credentials"
)
_WHEEL = re.compile(
    r"(\S+?)(?:==\S+)? has no (?:usable wheels|wheels with a matching)|Wheels are required for `([^`]+)`"
)
_BUILD_OFF = re.compile(
    r"[Bb]uilding (?:source distributions|from source)[^.\n]*(?:disabled)|building of source .*disabled"
)
_SOURCE_FAILED = re.compile(
    r"Failed to (?:build|download and build) `?([^\s`]+)`?|Build backend (?:failed|returned an error)"
)
_HASH = re.compile(r"Hash mismatch for `([^`]+)`")
ASKED = "asked"  # folder of the files that uv reads in place of the user's
LISTED = ".listed"  # ends the name of a list that was made of a file which is none
_SPACE = re.compile(r"no space left on device|ENOSPC", re.IGNORECASE)


def uv_env(env: Mapping[str, str]) -> dict[str, str]:
    """The environment for uv: what we were given, pip's settings in uv's names, no surprises from files of users."""
    names = (
        "PATH",
        "HOME",
        "TMPDIR",
        "LANG",
        "NETRC",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
    )
    passed = {
        name: value
        for name, value in env.items()
        if name in names or name.startswith(("UV_", "SSL_CERT_")) or name in {"NO_PROXY", "PYTHONHASHSEED"}
    }
    for pip_name, uv_name, unless in (
        ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", ("UV_DEFAULT_INDEX", "UV_INDEX_URL")),
        ("PIP_EXTRA_INDEX_URL", "UV_INDEX", ("UV_INDEX", "UV_EXTRA_INDEX_URL")),
        ("PIP_CERT", "SSL_CERT_FILE", ("SSL_CERT_FILE",)),
        ("PIP_NO_INDEX", "UV_NO_INDEX", ("UV_NO_INDEX",)),
    ):
        if env.get(pip_name) and not any(name in env for name in unless):
            passed[uv_name] = env[pip_name]
    if env.get("PIP_FIND_LINKS") and "UV_FIND_LINKS" not in env:
        # pip leaves out a folder that is not there, uv ends; pip separates by spaces, uv by commas.
        places = [place for place in env["PIP_FIND_LINKS"].split() if "://" in place or os.path.isdir(place)]  # noqa: PTH112 -- no pathlib in buildpacks
        if places:
            passed["UV_FIND_LINKS"] = ",".join(places)
    return {
        **passed,
        "UV_NO_CONFIG": "1",
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_HTTP_RETRIES": env.get("UV_HTTP_RETRIES", "2"),
        "NO_COLOR": "1",
    }


def run_uv(arguments: Sequence[str], env: Mapping[str, str], *, cwd: str, manager: Manager, python: str) -> str:
    """Run uv to its end; returns what it wrote to stdout. Raises PackFailed with the cause in the user's terms."""
    done = ask_uv(arguments, env, cwd=cwd)
    if done.returncode == 0:
        return done.stdout
    wheels_only = env.get("ALGO_WHEELS_ONLY") == "1"
    failed = explain_uv(done.stderr, cwd=cwd, manager=manager, python=python, wheels_only=wheels_only)
    own = [name for name in ("BP_INDEX_URL", "BP_EXTRA_INDEX_URL", "BP_NETRC") if env.get(name)]
    if failed.code == "index-denied" and own:
        raise PackFailed("index-secret-refused", url=failed.fields["url"], setting=own[0])
    raise failed


def ask_uv(
    arguments: Sequence[str], env: Mapping[str, str], *, cwd: str, timeout_s: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run uv and give back what it said, without secrets.

    timeout_s  None: the build's own time limit holds. One that passes reads like an index that does not answer
    Raises     PackFailed('uv-missing'): a platform of others has none, and the buildpack was packaged without
    """
    command = [env.get("BP_UV", "uv"), *arguments]
    try:
        done = subprocess.run(
            command, env=uv_env(env), cwd=cwd, capture_output=True, text=True, errors="replace",
            stdin=subprocess.DEVNULL, check=False, timeout=timeout_s,
        )  # fmt: skip
    except FileNotFoundError as missing:
        if missing.filename != command[0]:
            raise
        raise PackFailed("uv-missing", program=command[0]) from missing
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"error: operation timed out after {timeout_s:.0f} s")
    return subprocess.CompletedProcess(command, done.returncode, done.stdout, hide(done.stderr, env))


def explain_uv(stderr: str, *, cwd: str, manager: Manager, python: str, wheels_only: bool) -> PackFailed:
    """The failure behind uv's words; `dependencies-failed` with its last lines when they are new to us.  Pure."""
    text = _flat(stderr)
    parse = _PARSE.search(stderr)
    if parse is not None:
        return _syntax(parse, cwd, manager)
    place = _PLACE.search(stderr)
    if place is not None:
        return _syntax_at(place[2], int(place[3]), place[1], cwd, manager)
    missing = _NOT_FOUND.search(text)
    # An index that refuses us does not say what it has: then a name that was not found anywhere may be there.
    if missing is not None and _DENIED.search(text):
        return PackFailed("index-denied", url=_url(text.partition(" hint: ")[2] or text))
    if missing is not None:
        return PackFailed("requirement-missing", name=missing[1], **_where(manager, missing[1]))
    return (
        _index_failure(text, stderr)
        or _source_failure(text, stderr, manager, python, wheels_only=wheels_only)
        or (_unsatisfiable(text, manager) if "unsatisfiable" in text else None)
        or PackFailed("dependencies-failed", output=_last(stderr))
    )


def _index_failure(text: str, stderr: str) -> PackFailed | None:
    if _DENIED.search(text):
        return PackFailed("index-denied", url=_url(text))
    if NETWORK.search(text):
        causes = _causes(stderr)
        return PackFailed("index-unreachable", url=_url(text), cause=causes[-1][:200] if causes else "no answer")
    if _SPACE.search(text):
        return PackFailed("no-space")
    mismatch = _HASH.search(text)
    return PackFailed("hash-mismatch", name=mismatch[1]) if mismatch is not None else None


def _source_failure(text: str, stderr: str, manager: Manager, python: str, *, wheels_only: bool) -> PackFailed | None:
    wheel = _WHEEL.search(text)
    name = next((group.strip("`") for group in wheel.groups() if group), "") if wheel is not None else ""
    if wheels_only and (name or _BUILD_OFF.search(text)):
        return PackFailed("needs-source-build", name=name or "a requirement", python=python)
    if name and "unsatisfiable" in text:
        return PackFailed("no-wheel", name=name, python=python, **_where(manager, name))
    failed = _SOURCE_FAILED.search(text)
    if failed is None:
        return None
    return PackFailed("source-build-failed", name=failed[1] or "a requirement", output=_last(stderr))


def _unsatisfiable(text: str, manager: Manager) -> PackFailed:
    explanation = re.sub(r"^.*?cause: ", "", text).split(" hint: ")[0][:1200]
    needs = _NEEDS_PYTHON.search(explanation)
    if needs is not None and canonical(needs[2]) in manager.lines:
        return PackFailed(
            "needs-other-python", name=needs[2], spec=needs[3], python=needs[1], **_where(manager, needs[2])
        )
    asked = _NO_VERSION.search(explanation)
    if asked is not None and "depends on" not in explanation:
        return PackFailed(
            "requirement-version-missing", name=asked[1], explanation=explanation, **_where(manager, asked[1])
        )
    names = [name for name in manager.lines if re.search(rf"\b{re.escape(name)}\b", explanation, re.IGNORECASE)]
    lines = [f"{manager.lines[name][2]} ({manager.lines[name][0]} line {manager.lines[name][1]})" for name in names]
    return PackFailed("requirements-conflict", explanation=explanation, lines=lines or ["none of yours"])


def _syntax(parse: re.Match[str], cwd: str, manager: Manager) -> PackFailed:
    path = _repo_path(parse[1], cwd)
    read = manager.texts.get(path)
    data = manager.files.get(path, b"") if read is None else read.encode()
    return _syntax_at(parse[1], data[: int(parse[2])].count(b"\n") + 1, parse[3], cwd, manager)


def _syntax_at(path: str, number: int, message: str, cwd: str, manager: Manager) -> PackFailed:
    name = _repo_path(path, cwd)
    text = manager.texts.get(name) or manager.files.get(name, b"").decode("utf-8", "replace")
    lines = text.split("\n")
    shown = lines[number - 1].strip()[:200] if number <= len(lines) else ""
    file = name.removesuffix(LISTED)
    if name != file:  # a list made of the user's file: its lines are found by what they ask for
        number = next((line for _, line, spec in manager.lines.values() if spec == shown), number)
    return PackFailed("requirements-syntax", file=file, line=number, text=shown, message=message.strip()[:300])


def _repo_path(path: str, cwd: str) -> str:
    """The user's file behind a path that uv names: its own, or the cleaned one in its place."""
    _, asked, rest = path.rpartition(f"/{ASKED}/")
    return rest if asked else os.path.relpath(os.path.join(cwd, path), cwd)


def _where(manager: Manager, name: str) -> dict[str, object]:
    file, line, text = manager.lines.get(canonical(re.split(r"[=<>!~\[;]", name)[0]), ("", 0, ""))
    if not file:
        return {"where": "a package that others need", "text": name}
    return {"where": f"{file} line {line}", "text": text}


def _flat(stderr: str) -> str:
    return " ".join(hide_secrets(stderr).split())


def _causes(stderr: str) -> list[str]:
    return [line.strip().removeprefix("cause: ") for line in hide_secrets(stderr).splitlines() if "cause: " in line]


def _last(stderr: str) -> str:
    lines = [line.strip() for line in hide_secrets(stderr).splitlines() if line.strip()]
    return " / ".join(lines[-8:])[:1500]


def _url(text: str) -> str:
    match = _URL.search(text)
    return match[0].rstrip(").,") if match else "the package index"
