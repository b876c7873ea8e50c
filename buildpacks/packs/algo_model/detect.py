"""Looks at the repository and decides how it is served; the decision travels to the build inside the plan.

Explicit settings, then user code, then a web app, then model files (contracts 5.2). Nothing is imported or unpickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from buildpacks.model.file import ModelFile
from buildpacks.model.notes import Looker, parse_facts, render_facts
from buildpacks.model.search import find_models, find_named
from buildpacks.packs.algo_model.choice import choose_model, refuse_pointers
from buildpacks.packs.algo_model.examples import find_example, find_tests
from buildpacks.packs.algo_model.packages import packages_for
from buildpacks.packs.algo_model.policy import SETTING, check_pickles
from buildpacks.packs.algo_model.titles import DISTRIBUTIONS
from buildpacks.packs.cnb import NOT_MINE, PASS, Context, NotMine, PackFailed
from buildpacks.packs.procfile import read_procfile

TYPE_CHECKING = False  # typing.TYPE_CHECKING without its import
if TYPE_CHECKING:
    from buildpacks.packs.algo_model.source import Entry

# Files that list packages; a name is enough here, algo/python reads them.
_DECLARATIONS = (
    "requirements.txt", "pyproject.toml", "uv.lock", "pylock.toml", "poetry.lock", "Pipfile", "Pipfile.lock",
    "environment.yml", "environment.yaml", "setup.py",
)  # fmt: skip


class Decision(NamedTuple):
    """What is served: user code with or without a model file, or a model file alone."""

    entry: Entry | None
    chosen: ModelFile | None


def detect(context: Context) -> int:
    """Write the plan: what is served, and the packages it takes.

    Raises  PackFailed: what choice.py, policy.py, find_entry and find_web_app raise; procfile-no-web
    """
    processes = read_procfile(context.app)
    if processes and "web" in processes:
        return NOT_MINE
    looker = _looker(context.env)
    models = _find_models(context, looker)
    refuse_pointers(models)
    decision = _decide(context, models)
    if decision is None:
        return NOT_MINE  # a web app, which another buildpack starts
    if decision.entry is None and decision.chosen is None:
        if processes:
            raise PackFailed("procfile-no-web", types=list(processes))
        names = sorted(os.listdir(context.app))
        raise NotMine("nothing-to-serve", found=names[:20] or ["nothing"])
    used = [decision.chosen] if decision.entry is None and decision.chosen is not None else models
    warnings = check_pickles(used, context.env.get(SETTING, ""))
    if decision.entry is not None:
        from buildpacks.packs.references import warnings_of

        warnings = [*warnings, *decision.entry.notes, *warnings_of(context.app, decision.entry.file)]
    seen = render_facts(looker.seen) if looker.seen else ""
    _write_plan(context, decision, models, {"warnings": warnings, "seen": seen})
    return PASS


def _looker(env: Mapping[str, str]) -> Looker:
    """What the kitchen knows of this app's big files, where there is a kitchen."""
    folder = env.get("ALGO_MODEL_FACTS", "")
    if not folder:
        return Looker({}, ())
    with open(f"{folder}/model-facts.json", encoding="utf-8") as file:
        known = parse_facts(file.read())
    with open(f"{folder}/big-files.txt", encoding="utf-8", errors="surrogateescape") as file:
        return Looker(known, file.read().split("\n"))


def _find_models(context: Context, looker: Looker) -> list[ModelFile]:
    models = find_models(context.app, looker.look)
    explicit = context.env.get("BP_MODEL_FILE", "")
    if explicit and all(model.path != explicit for model in models):
        named = find_named(context.app, explicit, looker.look)
        if named is not None:
            models.append(named._replace(path=explicit))
    return models


def _decide(context: Context, models: Sequence[ModelFile]) -> Decision | None:
    """None for a web app."""
    model_file, entrypoint = context.env.get("BP_MODEL_FILE", ""), context.env.get("BP_ENTRYPOINT", "")
    if entrypoint or not model_file:
        # Late: the syntax tree module is needed only where there is code to look at.
        from buildpacks.packs.algo_model.source import find_entry

        entry = find_entry(context.app, entrypoint, context.env)
        if entry is not None:
            from buildpacks.packs.references import refuse_missing

            refuse_missing(context.app, entry.file)
            return Decision(entry, _beside(models, model_file))
        from buildpacks.packs.webapps import find_web_app

        if find_web_app(context.app) is not None:
            return None
        from buildpacks.packs.toolchains.starts import started_language

        if started_language(context.app):
            return None
    return Decision(None, choose_model(models, model_file))


def _beside(models: Sequence[ModelFile], explicit: str) -> ModelFile | None:
    """The model that user code is known to load: the one that is named, or the only one."""
    if explicit:
        return next((model for model in models if model.path == explicit), None)
    candidates = [model for model in models if model.kind != "data"]
    return candidates[0] if len(candidates) == 1 else None


def _serve(app: str, decision: Decision) -> dict[str, object]:
    """ALGO_SERVE, the shim's orders; runtime/settings.py reads it."""
    entry, chosen = decision
    framework, form = _read_as(chosen)
    return {
        "kind": "model-file" if entry is None else entry.kind,
        "file": None if entry is None else entry.file,
        "name": None if entry is None else entry.name,
        "model_file": chosen.path if chosen else None,
        "framework": framework,
        "format": form,
        "written_by": written_by(chosen) or None,
        "example": find_example(app, chosen),
        "tests": find_tests(app, chosen),
    }


def _read_as(model: ModelFile | None) -> tuple[str | None, str | None]:
    """Framework and format for the shim: a collection of scikit-learn's objects is a pickle of scikit-learn."""
    if model is None or model.framework == "unknown":
        return None, None
    if (model.framework, model.kind) == ("pickle", "container") and model.version:
        return "sklearn", "pickle"
    return model.framework, model.kind


def written_by(model: ModelFile | None) -> str:
    """`scikit-learn 1.7.2`, named as a requirement is; '' when the file does not say.

    Of an MLflow folder: its native flavor's version.
    """
    if model is None:
        return ""
    if model.framework == "mlflow":
        return str(model.detail.get("native", ""))
    name = DISTRIBUTIONS.get(model.framework, "")
    return f"{name} {model.version}" if name and model.version else ""


def _write_plan(context: Context, decision: Decision, models: Sequence[ModelFile], notes: Mapping[str, object]) -> None:
    from buildpacks.lifecycle.toml_writer import render_toml

    entry, chosen = decision
    facts = None
    if chosen is not None:
        facts = {
            "path": chosen.path, "framework": chosen.framework, "kind": chosen.kind, "version": chosen.version,
            **{key: value for key, value in chosen.detail.items() if key not in {"module", "requirements"}},
        }  # fmt: skip
    metadata = {
        "serve": json.dumps(_serve(context.app, decision), sort_keys=True),
        "model": json.dumps(facts, sort_keys=True),
        "why": entry.why if entry is not None else "",
        "slices": [model.path for model in models if model.path != "."],
        **notes,
    }
    used = models if entry is not None or chosen is None else [chosen]
    declared = any(os.path.isfile(f"{context.app}/{name}") for name in _DECLARATIONS)  # noqa: PTH113 -- no pathlib
    packages = packages_for(used, with_code=entry is not None, declared=declared)
    packages += [{"spec": spec, "why": f"{where} names it", "written_by": ""} for spec, where in _of_entry(entry)]
    plan = {
        "provides": [{"name": "web"}],
        "requires": [
            {"name": "web", "metadata": metadata},
            {"name": "python", "metadata": {"packages": packages}},
        ],
    }
    with open(context.plan, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(render_toml(plan))


def _of_entry(entry: Entry | None) -> Sequence[tuple[str, str]]:
    return () if entry is None else entry.packages
