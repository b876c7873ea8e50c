"""The layer `deps-gpu`: the same packages with builds for graphics cards, for a second image of the same release.

Why     one question, two locks: the second is resolved with every version of the first one as a bound, so that the two
        images answer alike and differ in what runs on a card alone. Asking for it changes nothing of the first
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence

from buildpacks.packs.algo_python.install import install, known_size, layer_key
from buildpacks.packs.algo_python.interpreter import Interpreter
from buildpacks.packs.algo_python.locks import split_lock
from buildpacks.packs.algo_python.manager import Manager
from buildpacks.packs.algo_python.resolve import Extra, lock_beside, pins
from buildpacks.packs.algo_python.variants import CPU_NAMES, CUDA, TORCH, env_for_install
from buildpacks.packs.cnb import Context, detail, human_size, step, warn
from buildpacks.packs.second_image import GPU, NAME_KEY, OF_KEY

LAYER = "deps-gpu"
_FOR_CPU = {cpu: name for name, cpu in CPU_NAMES.items()}


def add_gpu_layer(
    context: Context, manager: Manager, extras: Sequence[Extra], python: Interpreter, lock: str
) -> None:  # fmt: skip
    """Write `deps-gpu`, or say why there is nothing to make a second image of.

    lock    of the layer `deps`
    Raises  PackFailed, see uv.explain_uv
    """
    if GPU not in context.env.get("ALGO_VARIANTS", "").split(","):
        warn("BP_GPU=also makes a second image, and this platform makes one: it has the builds for processors")
        return
    others = builds_for_cards(manager, lock)
    if not others:
        detail(f"One image for processors and graphics cards: {_why_one(manager, lock)}")
        return
    old = context.restored(LAYER)
    question = (lock, python.minor, context.env.get("ALGO_PLATFORM", ""))
    asked = hashlib.sha256(repr(question).encode()).hexdigest()
    if old.get("asked") == asked and context.env.get("ALGO_UPGRADE") != "1":
        gpu_lock = str(old["lock"])
    else:
        bounds = {name: version for name, version in pins(lock).items() if name not in others}
        bounds |= {_FOR_CPU.get(name, name): version for name, version in others.items()}
        gpu_lock = lock_beside(context, manager, extras, python, bounds)
    key = layer_key(gpu_lock, python, context.env)
    size = old.get("size", 0)
    if old.get("key") == key:
        step(f"Dependencies for graphics cards: reused ({human_size(int(str(size)))}, 0 bytes moved)")
    elif (known := known_size(context.env, key)) is not None:
        size = known
        step(f"Dependencies for graphics cards: reused, this server has these versions already ({human_size(size)}, "
             "0 bytes moved)")  # fmt: skip
    else:
        size = _install(context, manager, gpu_lock, python)
    context.write_layer(
        LAYER, ["launch"],
        {NAME_KEY: GPU, OF_KEY: "deps", "asked": asked, "key": key, "lock": gpu_lock, "python": python.full,
         "size": size},
    )  # fmt: skip


def builds_for_cards(manager: Manager, lock: str) -> dict[str, str]:
    """Canonical name -> version, without its local part, of what a lock has as a build for processors unasked.

    What the user's own line names so (`tensorflow-cpu`, `torch==2.7.0+cpu`) is that in both images.
    """
    found = {}
    for name, version in pins(lock).items():
        public, _, local = version.partition("+")
        is_swapped = name in TORCH and local == "cpu" and "+" not in (manager.named.get(name) or "")
        if is_swapped or (name in _FOR_CPU and name not in manager.named):
            found[name] = public
    return found if manager.kind != "uv" and manager.locked is None else {}


def _install(context: Context, manager: Manager, lock: str, python: Interpreter) -> int:
    started_at = time.monotonic()
    tuned = Context(
        app=context.app, layers=context.layers, platform=context.platform, plan=context.plan,
        buildpack=context.buildpack, env=env_for_install(context.env, lock),
    )  # fmt: skip
    size_bytes = install(tuned, lock, python, manager, LAYER)
    seconds = time.monotonic() - started_at
    step(f"Dependencies for graphics cards: installed {len(pins(lock))} packages ({human_size(size_bytes)}, "
         f"{seconds:.1f} s), in the variant {GPU} alone")  # fmt: skip
    _tell(context.restored("deps"), split_lock(lock), size_bytes)
    return size_bytes


def _tell(first: Mapping[str, object], packages: Mapping[str, str], size_bytes: int) -> None:
    """What the second image has in place of the first one's packages, and what that weighs. first: deps' metadata."""
    before = split_lock(str(first.get("lock", "")))
    libraries = [name for name in packages if CUDA.fullmatch(name) and name not in before]
    others = sorted(
        text.split(" ", 1)[0].strip()
        for name, text in packages.items()
        if name not in libraries and before.get(name, "").split(" ", 1)[0] != text.split(" ", 1)[0]
    )
    more = size_bytes - int(str(first.get("size", 0)))
    weight = f", {human_size(more)} more" if more > 0 else ""
    many = f" and {len(libraries)} CUDA librar{'y' if len(libraries) == 1 else 'ies'}" if libraries else ""
    detail(f"Builds for graphics cards: {', '.join(others)}{many}{weight}")


def _why_one(manager: Manager, lock: str) -> str:
    if manager.kind == "uv" or manager.locked is not None:
        return f"{manager.file} is a lock, and is taken as it is"
    if any(name in TORCH or name in CPU_NAMES for name in pins(lock)):
        return "it has the builds of the default index"
    return "none of its packages has builds of both kinds"
