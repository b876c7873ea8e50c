"""What a push shows of the model: which file, what it is and by which bytes, what it takes, who wrote it.  Pure."""

from __future__ import annotations

from collections.abc import Mapping

from buildpacks.model.file import ModelFile
from buildpacks.model.tensors import describe_tensors, parse_tensors
from buildpacks.packs.algo_model.titles import DISTRIBUTIONS, NAMES, title_of
from buildpacks.packs.cnb import human_size

_NAMES = {DISTRIBUTIONS[framework]: NAMES[framework] for framework in DISTRIBUTIONS if framework != "pickle"}
_KNOWN = frozenset({"path", "framework", "kind", "version"})


def describe(serve: Mapping[str, object], facts: Mapping[str, object] | None, why: str) -> list[str]:
    """The line of the step, and lines beneath it.

    `Model: iris.json 12 kB, XGBoost Booster (JSON), input (n, 4), written by XGBoost 3.2.0`
    `Found by JSON, "learner"`
    """
    code = "" if serve["file"] is None else why or f"{serve['file']}, {serve['kind']} {serve['name']}"
    if facts is None:
        return [f"Model: {serve['file']}, {serve['kind']} {serve['name']}", *_found(why)]
    model = _model(facts)
    parts = [f"{model.path.rsplit('/', 1)[-1]} {human_size(int(str(model.detail.get('size', 0))))}", title_of(model)]
    parts += filter(None, [_input(model), _output(model)])
    if serve.get("written_by"):
        name, _, version = str(serve["written_by"]).partition(" ")
        parts.append(f"written by {_NAMES.get(name, name)} {version}")
    lines = [f"Model: {', '.join(parts)}"]
    if code:
        lines.append(f"Served by {serve['file']}, {serve['kind']} {serve['name']}{f' ({why})' if why else ''}")
    return lines + _evidence(model)


def _evidence(model: ModelFile) -> list[str]:
    found = [str(model.detail["evidence"])] if "evidence" in model.detail else []
    for key, words in (
        ("steps", "steps {}"), ("keys", "with {}"), ("objective", "objective {}"), ("classes", "{} classes"),
        ("opset", "opset {}"), ("producer", "made by {}"), ("signature", "signature {}"), ("task", "task {}"),
        ("custom", "own layers: {}"),
    ):  # fmt: skip
        if model.detail.get(key):
            found.append(words.format(str(model.detail[key])[:120]))
    return [f"Found by {'; '.join(found)}"] if found else []


def _found(why: str) -> list[str]:
    return [f"Found by {why}"] if why else []


def _input(model: ModelFile) -> str:
    tensors = parse_tensors(str(model.detail.get("inputs", "")))
    if tensors:
        return f"input {describe_tensors(tensors)}"
    return f"input (n, {model.detail['features']})" if "features" in model.detail else ""


def _output(model: ModelFile) -> str:
    tensors = [tensor for tensor in parse_tensors(str(model.detail.get("outputs", ""))) if tensor.shape is not None]
    return f"output {describe_tensors(tensors)}" if tensors else ""


def _model(facts: Mapping[str, object]) -> ModelFile:
    detail = {key: value for key, value in facts.items() if key not in _KNOWN and isinstance(value, (str, int))}
    path, framework, kind, version = (str(facts[name]) for name in ("path", "framework", "kind", "version"))
    return ModelFile(path, framework, kind, version, detail)
