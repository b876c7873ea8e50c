"""Builds for processors in place of builds for graphics cards: PyTorch, TensorFlow, XGBoost, unless the app asks.

Why     a torch of the default index brings CUDA libraries that a machine without a card never opens, several times
        the size of torch itself; how much that is, is measured for each app (_tell)
Source  https://docs.astral.sh/uv/guides/integration/pytorch/ (--torch-backend); contracts 3 and frameworks 1 to 3
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from buildpacks.packs.algo_python.install import for_platform
from buildpacks.packs.algo_python.interpreter import Interpreter
from buildpacks.packs.algo_python.locks import split_lock
from buildpacks.packs.algo_python.manager import Manager
from buildpacks.packs.algo_python.resolve import wants_both
from buildpacks.packs.cnb import Context, detail, human_size, warn

TORCH = frozenset({"torch", "torchvision", "torchaudio", "torchtext", "torchdata"})
CPU_NAMES = {"tensorflow": "tensorflow-cpu", "xgboost": "xgboost-cpu"}
CUDA = re.compile(r"(?:nvidia|cuda)-.*|triton|pytorch-triton(?:-.*)?")
_CUDA_USER = re.compile(
    r".*-cuda.*|cuda-?python|cupy.*|.*-gpu|.*-cu1[0-9]"
)  # what needs those libraries by its own name
_VERSION = re.compile(r"==([^\s;\\]+)")
_OFF = frozenset({"0", "off", "no", "false"})
_NO_INDEX = "off"
_CONNECT_S, _ANSWER_S = "5", "10"  # an index that does not answer costs a push no more than this
_LIMIT_S = 60


class Variant(NamedTuple):
    """A lock with other builds, and what that saves: bytes to download, 0 where no index told."""

    lock: str
    saved_bytes: int


def use_cpu_builds(context: Context, manager: Manager, python: Interpreter, lock: str) -> str:
    """The lock with processor builds in place of what the default index has; said in the log, with what it saves.

    A build that cannot be had leaves its package as it is, with a sentence that says so.
    """
    packages = split_lock(lock)
    names = (packages.keys() & TORCH) | (packages.keys() & CPU_NAMES.keys())
    if not names:
        return lock
    if wants_gpu(context.env):
        detail("Builds for graphics cards are kept: BP_GPU asks for them")
        return lock
    if context.env.get("BP_CPU_BUILDS", "").lower() in _OFF:
        detail("Builds of the default index are kept: BP_CPU_BUILDS=off")
        return lock
    swapped: dict[str, str] = {}
    if packages.keys() & TORCH:
        swapped |= _torch(context, python, packages)
    for name in sorted(packages.keys() & CPU_NAMES.keys()):
        swapped |= _renamed(context, manager, python, name, packages[name])
    if not swapped:
        return lock
    libraries = {name for name in packages if CUDA.fullmatch(name)}
    is_cuda_needed = (packages.keys() & TORCH and not swapped.keys() & TORCH) or any(
        _CUDA_USER.fullmatch(name) for name in packages.keys() - libraries
    )
    gone = set() if is_cuda_needed else libraries - manager.named.keys()
    kept = {name: text for name, text in packages.items() if name not in gone and name not in swapped}
    after = "".join(text for _, text in sorted([*kept.items(), *swapped.items()]))
    _tell(context, python, packages, swapped, gone)
    return after


def wants_gpu(env: Mapping[str, str]) -> bool:
    """The app asks for a graphics card, and for nothing else."""
    return bool(env.get("BP_GPU")) and env["BP_GPU"].lower() not in _OFF and not wants_both(env)


def env_for_install(env: Mapping[str, str], lock: str) -> dict[str, str]:
    """The environment in which a lock with processor builds of PyTorch can be installed.

    Why  unsafe-best-match: an index of PyTorch's also has old versions of common packages, and versions and hashes
         are fixed by the lock, so that it does not matter who else has the name
    """
    if "+cpu" not in lock:
        return dict(env)
    index = torch_index(env)
    if not index:
        return {**env, "UV_TORCH_BACKEND": "cpu"}
    if index.lower() == _NO_INDEX:
        return dict(env)
    # UV_INDEX hides pip's name of the same setting (uv.py): what that says goes along.
    known = env.get("UV_INDEX") or env.get("UV_EXTRA_INDEX_URL") or env.get("PIP_EXTRA_INDEX_URL") or ""
    return {**env, "UV_INDEX": f"{known} {index}".strip(), "UV_INDEX_STRATEGY": "unsafe-best-match"}


def torch_index(env: Mapping[str, str]) -> str:
    """The operator's index of processor builds; '' for uv's own, `off` for none."""
    return env.get("BP_TORCH_INDEX", "").strip()


def _torch(context: Context, python: Interpreter, packages: Mapping[str, str]) -> dict[str, str]:
    index = torch_index(context.env)
    if index.lower() == _NO_INDEX:
        detail("PyTorch comes from the default index: the operator set no index of builds for processors")
        return {}
    names = sorted(packages.keys() & TORCH)
    specs = [f"{name}=={version[1].split('+')[0]}" for name in names if (version := _VERSION.search(packages[name]))]
    env = {**context.env, "UV_HTTP_RETRIES": "0", "UV_HTTP_CONNECT_TIMEOUT": _CONNECT_S, "UV_HTTP_TIMEOUT": _ANSWER_S}
    where = ["--torch-backend", "cpu"]
    if index:
        env = {name: value for name, value in env.items() if name not in _OTHER_PLACES}
        where = ["--default-index", index]
    text, complaint = _compile(context, env, python, specs, where)
    found = split_lock(text)
    if set(names) <= found.keys():
        return {name: found[name] for name in names}
    size = _download_bytes(context, python, [text for name, text in packages.items() if CUDA.fullmatch(name)], [])
    _tell_why_not(complaint, specs, size)
    return {}


_OTHER_PLACES = frozenset({
    "UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_NO_INDEX",
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX",
})  # fmt: skip


def _tell_why_not(complaint: str, specs: list[str], cuda_bytes: int) -> None:
    from buildpacks.packs.algo_python.uv import NETWORK

    if NETWORK.search(complaint):
        reason = "the index of builds for processors cannot be reached"
    else:
        reason = f"the index of builds for processors has no {' or '.join(specs)} for this Python"
    size = f" ({human_size(cuda_bytes)} to download)" if cuda_bytes else ""
    warn(f"{reason}: PyTorch comes from the default index, with its CUDA libraries{size}")


def _renamed(context: Context, manager: Manager, python: Interpreter, name: str, text: str) -> dict[str, str]:
    """The package of another name that holds the same module, where that very version exists."""
    version = _VERSION.search(text)
    if version is None or CPU_NAMES[name] in manager.named:
        return {}
    found, _ = _compile(context, context.env, python, [f"{CPU_NAMES[name]}=={version[1]}"], [])
    lines = split_lock(found).get(CPU_NAMES[name], "")
    return {name: lines} if lines else {}


def _compile(
    context: Context, env: Mapping[str, str], python: Interpreter, specs: list[str], where: list[str]
) -> tuple[str, str]:
    from buildpacks.packs.algo_python.uv import ask_uv

    asked, output = f"{context.layers}/scratch/variant.txt", f"{context.layers}/scratch/variant.lock.txt"
    with open(asked, "w", encoding="utf-8") as file:
        file.write("".join(f"{spec}\n" for spec in specs))
    done = ask_uv(
        ["pip", "compile", asked, "--no-deps", "--no-build", "--generate-hashes", "--no-annotate", "--no-header",
         "--quiet", "--python", python.path, *for_platform(context.env, python), *where, "--output-file", output,
         "--upgrade"],
        env, cwd=context.app, timeout_s=_LIMIT_S,
    )  # fmt: skip
    if done.returncode != 0:
        return "", done.stderr
    with open(output, encoding="utf-8") as file:
        return file.read(), ""


def _tell(
    context: Context, python: Interpreter, packages: Mapping[str, str], swapped: Mapping[str, str], gone: set[str]
) -> None:  # fmt: skip
    what = ", ".join(text.split(" ", 1)[0].strip() for _, text in sorted(swapped.items()))
    before = _download_bytes(context, python, [packages[name] for name in (*swapped, *gone)], [])
    after = 0
    for name, text in swapped.items():
        places = []
        if name in TORCH:
            index = torch_index(context.env)
            places = ["--default-index", index] if index else ["--torch-backend", "cpu"]
        size = _download_bytes(context, python, [text], places)
        after, before = after + size, before if size else 0
    saved = f", {human_size(before - after)} less to download" if before > after else ""
    left = f" and without {len(gone)} CUDA librar{'y' if len(gone) == 1 else 'ies'}" if gone else ""
    detail(f"Builds for processors: {what}{left}{saved}   (graphics cards: algo config set BP_GPU=1)")


def _download_bytes(context: Context, python: Interpreter, texts: list[str], where: list[str]) -> int:
    """Bytes of the wheels of locked packages, as the index tells them; 0 when it tells none of one."""
    import tomllib

    from buildpacks.packs.algo_python.uv import ask_uv

    asked, output = f"{context.layers}/scratch/sizes.txt", f"{context.layers}/scratch/pylock.sizes.toml"
    with open(asked, "w", encoding="utf-8") as file:
        file.write("".join(f"{text.split(' ', 1)[0].strip()}\n" for text in texts))
    done = ask_uv(
        ["pip", "compile", asked, "--no-deps", "--no-build", "--format", "pylock.toml", "--quiet", "--python",
         python.path, *for_platform(context.env, python), *where, "--output-file", output, "--upgrade"],
        {**context.env, "UV_HTTP_RETRIES": "0"}, cwd=context.app, timeout_s=_LIMIT_S,
    )  # fmt: skip
    if done.returncode != 0:
        return 0
    with open(output, "rb") as file:
        packages = tomllib.load(file).get("packages", [])
    sizes = [max((int(wheel.get("size", 0)) for wheel in item.get("wheels", [])), default=0) for item in packages]
    return sum(sizes) if all(sizes) else 0
