"""From a serve document and the user's imported file to a model, by the contract that the code was written for.

Each contract's module is imported where its code is served: every start would pay for all of them.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from ..model import Model
from ..settings import Kind, ServeDoc
from ..user_model import UserModel, make_signature
from ..usercode import find_entry

LOADERS = ("load", "setup")
# Seldon Core 1.18: predict(X, names, meta). Whoever calls here sends X.
SELDON_NAMES = ("names", "features_names", "feature_names")


def prepare_import(serve: ServeDoc, app_dir: Path) -> None:
    """What code of this contract expects of the process before its first line runs: modules, variables."""
    if serve.kind is Kind.ALGORITHMIA:
        from .. import adk

        adk.install(app_dir)
    elif serve.kind is Kind.COG:
        from . import cog

        cog.install()
    elif serve.kind is Kind.SAGEMAKER:
        from . import sagemaker
        from .model_folder import find_model_folder

        sagemaker.announce_model_folder(find_model_folder(serve, app_dir))
    elif serve.kind is Kind.AZURE:
        from . import azure
        from .model_folder import find_model_folder

        azure.announce_model_folder(find_model_folder(serve, app_dir))


def find_user_entry(serve: ServeDoc, module: ModuleType) -> Any:
    """The function or class that the build found; None where the contract has several, or where the ADK has it.

    Raises  BootFailed('entry-missing', file, name, found)
    """
    if serve.kind is Kind.SAGEMAKER:
        return None
    if serve.kind is Kind.ALGORITHMIA:
        from .. import adk

        if adk.ADK.latest is not None:
            return None
    return find_entry(module, serve.file or "", serve.name or "")


def open_user_model(serve: ServeDoc, module: ModuleType, entry: Any, app_dir: Path) -> Model:
    """Load as the contract says. Raises BootFailed, and whatever the user's code raises."""
    file, name = serve.file or "", serve.name or ""
    title = f"{name} of {file}"
    match serve.kind:
        case Kind.COG:
            from . import cog

            return cog.make_model(entry, file, app_dir)
        case Kind.SAGEMAKER:
            from . import sagemaker
            from .model_folder import find_model_folder

            return sagemaker.make_model(module, serve, app_dir, find_model_folder(serve, app_dir))
        case Kind.HUGGINGFACE:
            from . import huggingface

            return huggingface.make_model(entry, title, app_dir)
        case Kind.AZURE:
            from . import azure

            return azure.make_model(module, entry, title)
        case Kind.ALGORITHMIA:
            function = _bind_algorithm(module, entry, app_dir)
            return UserModel(function=function, signature=make_signature(function, name), title=title, whole=True)
        case Kind.CLASS:
            function = _load_class(entry)
            return UserModel(function=function, signature=make_signature(function, name), title=title)
        case _:
            return UserModel(function=entry, signature=make_signature(entry, name), title=title)


def _bind_algorithm(module: ModuleType, entry: Any, app_dir: Path) -> Callable[..., Any]:
    from .. import adk

    registered = adk.ADK.latest
    if registered is not None:
        return adk.bind_apply(registered.apply_func, registered.load_func, app_dir)
    return adk.bind_apply(entry, getattr(module, "load", None), app_dir)


def _load_class(entry: Any) -> Callable[..., Any]:
    instance = entry()
    loader = next((getattr(instance, name) for name in LOADERS if callable(getattr(instance, name, None))), None)
    if loader is not None:
        outcome = loader()
        if inspect.isawaitable(outcome):
            asyncio.run(_awaited(outcome))
    predict: Callable[..., Any] = instance.predict  # the build has seen the method
    return _without_names(predict)


def _without_names(predict: Callable[..., Any]) -> Callable[..., Any]:
    parameters = list(inspect.signature(predict).parameters.values())
    if len(parameters) not in (2, 3) or parameters[1].name not in SELDON_NAMES:
        return predict
    if parameters[1].default is not parameters[1].empty:
        return predict
    rest: tuple[Any, ...] = ([], {})[: len(parameters) - 1]
    return lambda X: predict(X, *rest)  # noqa: N803 -- the name that Seldon's callers know


async def _awaited(outcome: Any) -> Any:
    return await outcome
