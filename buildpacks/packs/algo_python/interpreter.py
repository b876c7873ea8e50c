"""Which of the Pythons at hand an app gets."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from buildpacks.packs.algo_python.wanted import Wanted, satisfies
from buildpacks.packs.cnb import PackFailed

_ASK = "import sys; print('%d.%d.%d' % sys.version_info[:3], sys.implementation.name)"
LIMIT_S = 20
IMAGE_PYTHON = "/usr/bin/python3."  # the same wherever it lies here, or an image would know where it was built


class Interpreter(NamedTuple):
    """A Python that an app can have.

    path        a real binary here, never a shim: it stands in for the image's when uv asks
    version     of the image's, like (3, 11, 7)
    image_path  where it lies in the image
    compiler    argument list that runs the image's own, and its environment; path does where it is empty
    """

    path: str
    version: tuple[int, int, int]
    image_path: str
    compiler: tuple[str, ...] = ()
    compiler_env: tuple[tuple[str, str], ...] = ()

    @property
    def minor(self) -> str:
        """`3.11`."""
        return f"{self.version[0]}.{self.version[1]}"

    @property
    def full(self) -> str:
        """`3.11.7`."""
        return ".".join(map(str, self.version))

    def compiling(self) -> str:
        """ALGO_COMPILER for the buildpacks after this one: how to make byte-code for the image."""
        import json

        return json.dumps({"argv": list(self.compiler) or [self.path], "env": dict(self.compiler_env)})


def choose(wanted: Wanted, env: Mapping[str, str], previous: str) -> Interpreter:
    """The first of those at hand that fits; an app keeps its minor version while that fits.

    previous  the full version that the app has now, '' at its first build
    Raises    PackFailed('python-missing') with what there is
    """
    available = []
    fitting = None
    for found in candidates(env, wanted.spec):
        available.append(found.full)
        if wanted.spec and not satisfies(found.version, wanted.spec):
            continue
        if not previous or wanted.reason == ".python-version" or found.full == previous:
            return found
        # The same minor version before any other: a server's new patch moves nobody to another Python.
        if fitting is None or (found.minor == _minor(previous) and fitting.minor != found.minor):
            fitting = found
    chosen = fitting or _download(wanted, env)
    if chosen is None:
        raise PackFailed(
            "python-missing",
            wanted=wanted.exact or wanted.spec.removeprefix("==").removesuffix(".*"),
            reason=wanted.reason,
            available=list(dict.fromkeys(available)) or ["none"],
        )
    return chosen


def _minor(full: str) -> str:
    return full.rpartition(".")[0]


def candidates(env: Mapping[str, str], spec: str) -> Iterator[Interpreter]:
    """Pythons at hand, the server's favourite first; those whose name fits spec before others. Each costs a start."""
    if env.get("ALGO_GROUND"):
        yield from _of_stack(env["ALGO_GROUND"])
        return
    pin = re.match(r"==(\d+\.\d+)", spec)
    paths = [path for path in env.get("BP_PYTHONS", "").split(":") if path] or [os.path.realpath(sys.executable)]
    # Those whose name says that they fit are asked first: asking costs a start of each.
    if pin is not None:
        paths.sort(key=lambda path: not path.endswith(f"python{pin[1]}"))
    for path in paths:
        found = ask(path)
        if found is not None:
            yield found


def _of_stack(text: str) -> Iterator[Interpreter]:
    """What the platform says of the stack's interpreters (buildpacks/ground.py)."""
    import json

    for item in json.loads(text):
        major, minor, patch = (int(part) for part in item["version"].split("."))
        yield Interpreter(
            item["host"], (major, minor, patch), item["path"], tuple(item["compiler"]), tuple(item["env"].items())
        )


def ask(path: str) -> Interpreter | None:
    """The version of an interpreter; None for a shim, for another implementation, for one that does not run."""
    if os.path.realpath(path) == os.path.realpath(sys.executable):
        own = (sys.version_info[0], sys.version_info[1], sys.version_info[2])
        return Interpreter(path, own, f"{IMAGE_PYTHON}{own[1]}")
    import subprocess  # late: the interpreter that runs this answers for itself

    try:
        answer = subprocess.run(
            [path, "-I", "-S", "-c", _ASK], capture_output=True, text=True, timeout=LIMIT_S, env={}, check=True
        ).stdout.split()
        major, minor, patch = (int(part) for part in answer[0].split("."))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
    found = Interpreter(path, (major, minor, patch), f"{IMAGE_PYTHON}{minor}")
    return found if answer[1] == "cpython" else None


def _download(wanted: Wanted, env: Mapping[str, str]) -> Interpreter | None:
    """uv's own prebuilt Python, where the operator allows downloads and gave them a folder that lasts."""
    import subprocess

    folder = "" if env.get("ALGO_GROUND") else env.get("UV_PYTHON_INSTALL_DIR", "")
    pin = re.match(r"==(\d+\.\d+(?:\.\d+)?)", wanted.spec)
    if not folder or pin is None or env.get("UV_PYTHON_DOWNLOADS") in {"never", "manual"}:
        return None
    uv = env.get("BP_UV", "uv")
    tuned = {**env, "UV_HTTP_RETRIES": "1", "UV_NO_CONFIG": "1"}
    try:
        subprocess.run([uv, "python", "install", "-q", pin[1]], env=tuned, timeout=600, capture_output=True, check=True)
        found = subprocess.run(
            [uv, "python", "find", "--managed-python", pin[1]],
            env=tuned, timeout=LIMIT_S, capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return ask(os.path.realpath(found))
