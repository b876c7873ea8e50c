"""The one door to programs of other languages: found, asked for their version, run, and what they said when they fail.

Rules of this file
1. Argument lists, never a shell; an environment made here, from what the platform gave.
2. What builds an app may run code of strangers: that happens in the second attempt alone, where the app is by itself.
"""

# ruff: noqa: PTH113 -- no pathlib in buildpacks

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence

from buildpacks.packs.cnb import Context, PackFailed, detail

# Of the operator's settings, those that programs of every language read.
_PASSED = (
    "PATH", "HOME", "TMPDIR", "LANG", "SOURCE_DATE_EPOCH", "LD_LIBRARY_PATH", "LIBRARY_PATH", "CPATH",
    "PKG_CONFIG_PATH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
)  # fmt: skip
_CREDENTIALS = re.compile(r"://[^/\s]+@")  # a password may hold an @ of its own
_SHOWN_LINES, _SHOWN_CHARS = 12, 1500
_VERSION_S = 30


def refuse_trusted(env: Mapping[str, str], what: str) -> None:
    """Raises PackFailed('runs-code') in the attempt that executes nothing of the repository: another one follows."""
    if env.get("ALGO_WHEELS_ONLY") == "1":
        raise PackFailed("runs-code", what=what)


def is_where_it_runs(env: Mapping[str, str]) -> bool:
    """Whether programs that are here are in the image, too: this is the machine that serves, or the stack's container.

    Beside a stack the trusted attempt works on this machine, with stand-ins (ALGO_GROUND: host is not path).
    """
    if not env.get("ALGO_PLATFORM"):
        return True
    import json  # late: only for stacks

    return all(python["host"] == python["path"] for python in json.loads(env.get("ALGO_GROUND") or "[]"))


def find_program(name: str, env: Mapping[str, str], places: Sequence[str] = ()) -> str | None:
    """Path of a program on PATH or in one of the usual places; None when this machine or stack has none."""
    for folder in (*env.get("PATH", "").split(os.pathsep), *places):
        path = os.path.join(folder, name)
        if folder and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def version_of(command: Sequence[str], env: Mapping[str, str]) -> tuple[int, ...]:
    """The first version number in what a program says of itself; () when it says none.

    env  the whole environment of the program, see passed
    A file of that name which is no program that runs here counts as one that says none.
    """
    try:
        done = subprocess.run(
            list(command), env=dict(env), capture_output=True, text=True, timeout=_VERSION_S, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ()
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", done.stdout + done.stderr) if done.returncode == 0 else None
    return tuple(int(part or 0) for part in match.groups()) if match is not None else ()


def passed(env: Mapping[str, str]) -> dict[str, str]:
    """The environment that programs get."""
    return {name: env[name] for name in _PASSED if env.get(name)}


def run_tool(command: Sequence[str], context: Context, env: Mapping[str, str], *, cwd: str = "", shown: str) -> str:
    """Run a program to its end, under the build's own time limit; what it said.

    shown   the command as a user would type it
    Raises  PackFailed('build-tool-failed') with the last lines of what it said
    """
    status, text = try_tool(command, context, env, cwd=cwd, shown=shown)
    if status == 0:
        return text
    raise tool_failed(status, text, shown)


def try_tool(
    command: Sequence[str], context: Context, env: Mapping[str, str], *, cwd: str = "", shown: str
) -> tuple[int, str]:
    """As run_tool, for a caller who knows what to do when it fails: exit status, and what it said."""
    detail(shown)
    done = subprocess.run(
        list(command), env=dict(env), cwd=cwd or context.app, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    return done.returncode, _CREDENTIALS.sub("://", done.stdout.decode("utf-8", "replace"))


def tool_failed(status: int, text: str, shown: str) -> PackFailed:
    """Print the end of what a program said; the failure to raise, 'build-tool-failed'."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    for line in lines[-_SHOWN_LINES * 3 :]:
        sys.stdout.write(f"       {line[:300]}\n")
    sys.stdout.flush()
    last = " / ".join(line.strip() for line in _telling(lines)[-_SHOWN_LINES:])[-_SHOWN_CHARS:]
    return PackFailed("build-tool-failed", command=shown, status=status, output=last or "it said nothing")


def _telling(lines: Sequence[str]) -> Sequence[str]:
    """Maven and npm end with advice about logs; the lines that they mark come first."""
    marked = [line for line in lines if re.match(r"\[ERROR\]|npm (?:ERR!|error)", line)]
    return marked[:_SHOWN_LINES] if marked else lines
