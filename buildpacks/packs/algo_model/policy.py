"""What is done about pickles that name more than their framework needs: told (warn), or refused (deny).  Pure.

The policy `convert` of other servers loads a pickle in order to write it in a safe format. Loading is what the policy
is there to prevent, and a build has no place where a stranger's pickle may run: so it is refused, with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from buildpacks.model.file import ModelFile
from buildpacks.packs.algo_model.titles import NAMES
from buildpacks.packs.cnb import PackFailed

SETTING = "BP_PICKLE_POLICY"
_SHOWN = 5
_REASONS = {
    "convert": "Converting means loading, which is what runs the code in a pickle; write the file anew yourself with "
    "skops.io.dump or safetensors instead.",
}
_TODO = {
    "sklearn": "write the model with skops: skops.io.dump(model, 'model.skops')",
    "torch": "write the weights with safetensors, and load them in a predict.py",
    "mlflow": "log the model with serialization_format='skops', or from code",
    "transformers": "save it with save_pretrained(..., safe_serialization=True)",
    "xgboost": "save the model in its own format: model.save_model('model.json')",
    "lightgbm": "save the model in its own format: model.booster_.save_model('model.txt')",
    "catboost": "save the model in its own format: model.save_model('model.cbm')",
}


def check_pickles(models: Sequence[ModelFile], policy: str) -> list[str]:
    """Lines that warn; empty for clean pickles.

    policy  BP_PICKLE_POLICY: '' is warn
    Raises  PackFailed: pickle-unsafe under deny, pickle-policy for a policy that there is not
    """
    if policy not in {"", "warn", "deny"}:
        reason = _REASONS.get(policy, "The policies are warn, which tells what a pickle would run, and deny.")
        raise PackFailed("pickle-policy", found=policy[:40], reason=reason)
    lines = []
    for model in models:
        outside, loud = _names(model, "outside"), _names(model, "loud")
        unread = str(model.detail.get("unread", ""))
        if not outside and not unread:
            continue
        if policy == "deny":
            framework = NAMES.get(model.framework, model.framework)
            names = [*(loud or outside)[:_SHOWN], *([f"it could not be read whole: {unread}"] if unread else [])]
            raise PackFailed(
                "pickle-unsafe", path=model.path, framework=framework, names=names,
                todo=_TODO.get(model.framework, "write the model in a format without code, or load it in a predict.py"),
            )  # fmt: skip
        lines += _warnings(model, outside, loud, unread)
    return lines


def _warnings(model: ModelFile, outside: list[str], loud: list[str], unread: str) -> list[str]:
    lines = []
    if loud:
        lines.append(f"{model.path} RUNS CODE when it is loaded: it names {_some(loud)}. Trust it only if you made it")
    quiet = [name for name in outside if name not in loud]
    if quiet:
        lines.append(f"{model.path} is a pickle that names {_some(quiet)}, beyond what models of its kind need")
    if unread:
        lines.append(f"{model.path} is a pickle that could not be looked through ({unread})")
    return lines


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _names(model: ModelFile, key: str) -> list[str]:
    return [str(name) for name in json.loads(str(model.detail.get(key, "[]")))]
