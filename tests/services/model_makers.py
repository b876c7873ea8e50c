"""Real models, made by the frameworks themselves, each with what the framework answers. None is ever committed.

A family is an environment of its own (the tests' has only scikit-learn) and a program that runs in it: it writes its
models and `cases.json`. Both are made once a machine, kept in the cache, and made anew when a version or the program
changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx

# What the shim itself needs, in any environment.
SHIM = ("flask>=3.1", "gunicorn>=23", "numpy>=2,<3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Packages of one environment, exact: a model is the same on every machine. more: further arguments of uv."""

    packages: tuple[str, ...]
    more: Callable[[], tuple[str, ...]] = tuple


def _torch_arguments() -> tuple[str, ...]:
    from tests.services.torch_index import torch_wheels

    return ("--find-links", str(torch_wheels() / "simple/torch"))


def _without_tensorflow() -> tuple[str, ...]:
    # tf-keras, which is Keras 2, asks for tensorflow, and the build for processors has another name.
    excludes = Path.home() / ".cache/algo-tests/frameworks/excludes-tensorflow.txt"
    excludes.parent.mkdir(parents=True, exist_ok=True)
    excludes.write_text("tensorflow\n")
    return ("--excludes", str(excludes))


FAMILIES: Mapping[str, Family] = {
    "tables": Family(
        packages=(
            "scikit-learn==1.7.2",
            "skops==0.14.0",
            "xgboost-cpu==3.2.0",
            "lightgbm==4.7.0",
            "onnx==1.22.0",
            "onnxruntime==1.32.0",
        )
    ),
    "catboost": Family(packages=("catboost==1.2.10",)),
    "mlflow": Family(packages=("mlflow-skinny==3.17.2", "scikit-learn==1.7.2", "pandas==2.3.3")),
    "tensorflow": Family(
        packages=("tensorflow-cpu==2.21.0", "keras==3.15.1", "tf-keras==2.21.0"), more=_without_tensorflow
    ),
    "torch": Family(packages=("torch==2.15.0+cpu", "transformers==5.23.0"), more=_torch_arguments),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call and what the framework itself answers."""

    path: str
    body: Any
    answer: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCase:
    """A model file or folder. host_path: where it lies; file: its name in a repository; serve: what a build finds."""

    name: str
    host_path: Path
    file: str
    serve: Mapping[str, Any]
    calls: Sequence[Call]

    def put(self, app_dir: Path) -> None:
        """Copy the model to where it would lie in an app."""
        target = app_dir / self.file
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.host_path.is_dir():
            shutil.copytree(self.host_path, target, dirs_exist_ok=True)
        else:
            shutil.copy2(self.host_path, target)


def close_to(found: Any, wanted: Any) -> bool:
    """Equal in structure, texts and whole numbers; floats to a millionth: a batch may be summed in another order."""
    if isinstance(wanted, dict):
        return (
            isinstance(found, dict)
            and wanted.keys() == found.keys()
            and all(close_to(found[k], wanted[k]) for k in wanted)
        )
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(close_to, found, wanted))
    if isinstance(wanted, float) and isinstance(found, (int, float)):
        return math.isclose(found, wanted, rel_tol=1e-6, abs_tol=1e-7)
    return bool(found == wanted)


def answer_of(reply: httpx.Response) -> Any:
    """The reply's JSON; of Open Inference Protocol V2 the first output's data."""
    assert reply.status_code == 200, reply.text
    body = reply.json()
    return {"data": body["outputs"][0]["data"]} if "outputs" in body and "model_name" in body else body


@cache
def interpreter(family: str) -> str:
    """The Python of a family's environment. Up to a minute the first time on a machine."""
    wanted = FAMILIES[family]
    listed = [*wanted.more(), *wanted.packages, *SHIM]

    def make(draft: Path) -> None:
        uv = str(Path(sys.executable).parent / "uv")
        # --relocatable: the environment is made as a draft and renamed when it is whole.
        subprocess.run(
            [uv, "venv", "-q", "--relocatable", "--python", sys.executable, str(draft)], check=True, timeout=60
        )
        install = [uv, "pip", "install", "-q", "--python", str(draft / "bin/python"), "--only-binary", ":all:"]
        subprocess.run([*install, *listed], check=True, timeout=900)

    return str(_once(f"env-{family}-{_digest(sys.version, *listed)}", make) / "bin/python")


@cache
def model_cases(family: str) -> Mapping[str, ModelCase]:
    """Every model of a family, by name."""
    program = Path(__file__).with_name(f"model_makers_{family}.py")
    python = interpreter(family)

    def make(draft: Path) -> None:
        draft.mkdir()
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(draft), "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [python, "-P", "-W", "ignore", str(program), str(draft)]
        done = subprocess.run(command, env=environment, check=False, timeout=300, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-4000:]

    folder = _once(f"models-{family}-{_digest(python, program.read_text())}", make)
    found = json.loads((folder / "cases.json").read_text())
    return {
        case["name"]: ModelCase(
            name=case["name"],
            host_path=folder / case["file"],
            file=case["file"],
            serve={"kind": "model-file", "model_file": case["file"], **case["serve"]},
            calls=[Call(**call) for call in case["calls"]],
        )
        for case in found
    }


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _once(name: str, make: Callable[[Path], None]) -> Path:
    """The folder of that name in the cache; made under a lock, whole or not at all."""
    folder = Path.home() / ".cache/algo-tests/frameworks"
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / name
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.exists():
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                draft = Path(scratch) / "made"
                make(draft)
                draft.rename(final)
    return final
