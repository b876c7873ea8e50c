"""Ships the runtime shim and what it is to serve; every model file becomes a slice of its own."""

from __future__ import annotations

import hashlib
import json
import os

from buildpacks.packs.algo_model.describing import describe
from buildpacks.packs.cnb import ERROR, PASS, Context, PackFailed, detail, step, warn

PRIVATE_NAME = "_gitserver_runtime"
COMMAND = ["python", "-P", "-m", PRIVATE_NAME]


def build(context: Context) -> int:
    """Write the layers `runtime` and `serve`, and launch.toml."""
    wants = context.wants("web")
    found = next((want for want in wants if "serve" in want), None)
    if found is None:
        return ERROR
    serve, model = str(found["serve"]), json.loads(str(found["model"]))
    first, *more = describe(json.loads(serve), model, str(found.get("why", "")))
    step(first)
    for line in more:
        detail(line)
    warnings = found.get("warnings", [])
    for line in warnings if isinstance(warnings, list) else []:
        warn(str(line))
    _ship_runtime(context)
    context.write_env("serve", "env.launch", "ALGO_SERVE.override", serve)
    context.write_layer("serve", ["launch"], {})
    slices = found["slices"]
    assert isinstance(slices, list)
    labels = {"algo.serve": serve, "algo.model": str(found["model"]), "algo.model-facts": str(found.get("seen", ""))}
    document: dict[str, object] = {
        "processes": [{"type": "web", "command": COMMAND, "default": True}],
        "labels": [{"key": key, "value": value} for key, value in labels.items() if value],
    }
    if slices:
        document["slices"] = [{"paths": [_escape_glob(str(path))]} for path in slices]
    context.write_toml("launch.toml", document)
    return PASS


def _ship_runtime(context: Context) -> None:
    source = context.env.get("BP_RUNTIME_DIR") or f"{context.buildpack}/runtime"
    python = context.env.get("ALGO_PYTHON", "python3")  # version and place in the image: byte-code depends on them
    files = _source_files(source)
    digest = hashlib.sha256(python.encode())
    for name in files:
        with open(f"{source}/{name}", "rb") as file:
            digest.update(f"\0{name}\0".encode())
            digest.update(file.read())
    metadata = {"sha256": digest.hexdigest()}
    if context.restored("runtime") == metadata:
        context.write_layer("runtime", ["launch"], metadata)
        return
    import shutil  # late, both: the shim changes with the server, not with a push

    from buildpacks.packs.compiling import compile_folder

    target = f"{context.layers}/runtime/{PRIVATE_NAME}"
    for name in files:
        os.makedirs(os.path.dirname(f"{target}/{name}"), exist_ok=True)  # noqa: PTH103, PTH120 -- no pathlib in buildpacks
        shutil.copyfile(f"{source}/{name}", f"{target}/{name}")
    compiler = context.env.get("ALGO_COMPILER") or json.dumps({"argv": ["python3"], "env": {}})
    cache = context.env.get("ALGO_BYTECODE", "")
    compile_folder(compiler, f"{context.layers}/runtime", "/layers/algo_model/runtime", cache)
    context.write_env("runtime", "env.launch", "PYTHONPATH.prepend", f"{context.layers}/runtime")
    context.write_env("runtime", "env.launch", "PYTHONPATH.delim", ":")
    context.write_layer("runtime", ["launch"], metadata)


def _source_files(source: str) -> list[str]:
    found = []
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        found += [os.path.relpath(f"{folder}/{name}", source) for name in names if not name.endswith((".pyc", ".pyo"))]
    if "__init__.py" not in found:
        raise PackFailed("runtime-missing", path=source)
    return sorted(found)


def _escape_glob(path: str) -> str:
    # Slices are globs of Go's filepath.Match, where a backslash takes a character as it is.
    return "".join(f"\\{char}" if char in "*?[\\" else char for char in path)
