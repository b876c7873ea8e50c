"""What a walked pickle says about the model in it: its class, its steps, its features.  Pure.

Source  scikit-learn base.py (`__getstate__` adds _sklearn_version; n_features_in_, feature_names_in_), pipeline.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from buildpacks.model.opcodes import Global, Thing

_MAKERS = frozenset({("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor"), ("copyreg", "__newobj__")})
_FEATURES = ("n_features_in_", "_n_features_in", "_n_features")
_INNER = ("best_estimator_", "estimator_", "regressor_", "classifier_")
_DEPTH = 6
_DATA = frozenset({"numpy", "pandas", "scipy", "builtins", "collections", "datetime"})


def class_of(value: object) -> Global | None:
    """The class of a walked value; None for what is no object of a named class."""
    if not isinstance(value, Thing):
        return None
    maker = value.maker
    if isinstance(maker, Global) and maker in _MAKERS and isinstance(value.args, tuple) and value.args:
        maker = value.args[0]
    return maker if isinstance(maker, Global) else None


def object_facts(root: object) -> dict[str, str | int]:
    """features, names, steps, version ('' when unknown) of the outermost object, or of a collection of objects."""
    if isinstance(root, (list, tuple)):
        root = dict(enumerate(root))
    if isinstance(root, dict):
        return _bundle(root)
    state = _state(root)
    facts: dict[str, str | int] = {}
    version = state.get("_sklearn_version")
    if isinstance(version, str):
        facts["version"] = version[:40]
    steps = _steps(state)
    if steps:
        facts["steps"] = " > ".join(name for name in map(_name, steps) if name)[:300]
    facts.update(_width([root, *steps]))
    return facts


def _bundle(root: Mapping[object, object]) -> dict[str, str | int]:
    # People save a model with its scaler in one dictionary; which key is which is what user code knows.
    parts = {
        str(key): found.name
        for key, value in root.items()
        if (found := class_of(value)) is not None and found.module.split(".", 1)[0] not in _DATA
    }
    facts: dict[str, str | int] = {}
    if parts:
        facts["keys"] = ", ".join(f"{key[:40]}: {name[:60]}" for key, name in list(parts.items())[:10])
    for value in root.values():
        version = _state(value).get("_sklearn_version")
        if isinstance(version, str):
            facts.setdefault("version", version[:40])
    return facts


def _state(value: object) -> Mapping[object, object]:
    state = value.state if isinstance(value, Thing) else None
    if isinstance(state, tuple) and state and isinstance(state[0], dict):  # (dict, slots)
        return state[0]
    return state if isinstance(state, dict) else {}


def _steps(state: Mapping[object, object]) -> list[object]:
    steps = state.get("steps")
    if not isinstance(steps, list):
        return []
    return [step[1] for step in steps if isinstance(step, tuple) and len(step) > 1]


def _name(value: object) -> str:
    found = class_of(value)
    return "" if found is None else found.name[:60]


def _width(objects: list[object]) -> dict[str, str | int]:
    """Number and names of columns: of the first object in the row that knows; a search asks its best estimator."""
    facts: dict[str, str | int] = {}
    queue = objects
    for _ in range(_DEPTH):
        inner = []
        for value in queue:
            state = _state(value)
            count = next((state[key] for key in _FEATURES if isinstance(state.get(key), int)), None)
            if isinstance(count, int) and 0 < count < 1_000_000:
                facts["features"] = count
                names = _strings(state.get("feature_names_in_"))
                if names:
                    facts["names"] = json.dumps(names)
                return facts
            inner += [state[key] for key in _INNER if key in state]
            inner += _steps(state) if value not in objects[:1] else []
        queue = inner
    return facts


def _strings(value: object) -> list[str]:
    """The strings of an object array; empty when there are too many to carry."""
    state = value.state if isinstance(value, Thing) else None
    items = state[-1] if isinstance(state, tuple) and state else None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        return []
    names = [str(item)[:100] for item in items]
    return names if len(names) < 256 and sum(map(len, names)) < 6000 else []
