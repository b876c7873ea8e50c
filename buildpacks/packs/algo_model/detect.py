"""Looks at the repository and decides how it is served; the decision travels to the build inside the plan.

Explicit settings, then user code, then model files (contracts 5.2). Nothing is imported, nothing unpickled.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence

from buildpacks.model.file import ModelFile
from buildpacks.model.search import find_models
from buildpacks.packs.algo_model.choice import choose_model, refuse_pointers
from buildpacks.packs.cnb import NOT_MINE, PASS, Context, NotMine, PackFailed
from buildpacks.packs.procfile import read_procfile

EXAMPLES = ("example.json", "sample.json", "input_example.json")
# scikit-learn 1.4.2 release notes: "This release only includes support for numpy 2." Older metadata does not say so.
FIRST_WITH_NUMPY_2 = (1, 4, 2)
# What the shim itself needs. Loose: a user who names these decides their versions.
SHIM_PACKAGES = ("flask>=2.2", "gunicorn>=22")


def detect(context: Context) -> int:
    """Write the plan: what is served, and the packages it takes."""
    processes = read_procfile(context.app)
    if processes and "web" in processes:
        return NOT_MINE
    models = find_models(context.app)
    refuse_pointers(models)
    serve, chosen = _decide(context, models)
    if serve is None:
        if processes:
            raise PackFailed("procfile-no-web", types=list(processes))
        names = sorted(os.listdir(context.app))
        raise NotMine("nothing-to-serve", found=names[:20] or ["nothing"])
    _write_plan(context, serve, chosen, models)
    return PASS


def _decide(context: Context, models: Sequence[ModelFile]) -> tuple[dict[str, object] | None, ModelFile | None]:
    model_file, entrypoint = context.env.get("BP_MODEL_FILE", ""), context.env.get("BP_ENTRYPOINT", "")
    entry = None
    if entrypoint or not model_file:
        # Late: the syntax tree module is needed only where there is code to look at.
        from buildpacks.packs.algo_model.source import find_entry

        entry = find_entry(context.app, entrypoint)
    if entry is not None:
        chosen = next((m for m in models if m.path == model_file), models[0] if len(models) == 1 else None)
        serve: dict[str, object] = {"kind": entry.kind, "file": entry.file, "name": entry.name}
    else:
        chosen = choose_model(models, model_file)
        if chosen is None:
            return None, None
        serve = {"kind": "sklearn-file", "file": None, "name": None}
    is_sklearn = chosen is not None and chosen.framework == "sklearn"
    return {
        **serve,
        "model_file": chosen.path if chosen else None,
        "written_by": f"scikit-learn {chosen.version}" if chosen and is_sklearn and chosen.version else None,
        "example": _find_example(context.app, chosen),
    }, chosen


def _find_example(app: str, model: ModelFile | None) -> str | None:
    folders = [""]
    if model is not None and "/" in model.path:
        folders.insert(0, model.path.rsplit("/", 1)[0] + "/")
    for folder in folders:
        for name in EXAMPLES:
            if os.path.isfile(f"{app}/{folder}{name}"):  # noqa: PTH113 -- no pathlib in buildpacks
                return f"{folder}{name}"
    return None


def _write_plan(
    context: Context, serve: dict[str, object], chosen: ModelFile | None, models: Sequence[ModelFile]
) -> None:
    from buildpacks.lifecycle.toml_writer import render_toml

    facts = None
    if chosen is not None:
        facts = {
            "path": chosen.path, "framework": chosen.framework, "kind": chosen.kind, "version": chosen.version,
            **{key: value for key, value in chosen.detail.items() if key != "module"},
        }  # fmt: skip
    metadata = {"serve": json.dumps(serve, sort_keys=True), "model": json.dumps(facts, sort_keys=True)}
    plan = {
        "provides": [{"name": "web"}],
        "requires": [
            {"name": "web", "metadata": {**metadata, "slices": [model.path for model in models]}},
            {"name": "python", "metadata": {"packages": _packages(models)}},
        ],
    }
    with open(context.plan, "w", encoding="utf-8") as file:
        file.write(render_toml(plan))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _packages(models: Sequence[ModelFile]) -> list[dict[str, str]]:
    """What Python packages serving takes, each giving way to a user who names it.

    {"spec", "why", "written_by": version that wrote a model, "beside": package for whose version it is needed}
    """
    packages = [{"spec": spec, "why": "", "written_by": ""} for spec in SHIM_PACKAGES]
    for model in models:
        if model.framework != "sklearn":
            continue
        spec = f"scikit-learn=={model.version}" if model.version else "scikit-learn"
        why = f"{model.path} was written by it" if model.version else f"{model.path} needs it"
        packages.append({"spec": spec, "why": why, "written_by": model.version})
        if model.version and _numbers(model.version) < FIRST_WITH_NUMPY_2:
            packages.append(
                {"spec": "numpy<2", "why": f"{spec} was made for it", "written_by": "", "beside": "scikit-learn"}
            )
        if model.kind == "skops":
            packages.append(
                {"spec": f"skops>={model.detail['skops']}", "why": f"{model.path} needs it", "written_by": ""}
            )
    return packages
