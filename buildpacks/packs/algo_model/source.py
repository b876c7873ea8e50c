"""User code that predicts, found by its syntax tree; nothing is imported or run.

Order   1. BP_ENTRYPOINT, SAGEMAKER_PROGRAM, 2. cog.yaml, which names its file, 3. one file of a contract: Algorithmia's
        kit or its configuration, SageMaker's inference.py, Hugging Face's handler.py, Azure's score.py, our predict.py,
        4. src/*.py with apply, 5. one file with a usual name (main.py, app.py, ...) and a function predict, where no
        web app is near
Rule    two files of step 3 are a tie: both are named with the line that decides
"""

from __future__ import annotations

import ast
import re

from buildpacks.packs.algo_model.contracts import algorithmia, cog, platforms
from buildpacks.packs.algo_model.contracts.entry import Entry
from buildpacks.packs.algo_model.contracts.syntax import (
    classes,
    functions,
    is_inside,
    methods,
    names,
    parse,
    python_files,
    read,
)
from buildpacks.packs.cnb import PackFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Entry", "find_entry"]

PREDICT_FILE = "predict.py"
USUAL_FILES = ("main.py", "app.py", "serve.py", "inference.py", "src/predict.py")
# First arguments of helpers that predict with something which their caller has loaded.
_HELPERS = frozenset(
    {"model", "models", "net", "network", "clf", "classifier", "estimator", "pipeline", "session", "args"}
)
_WEB = re.compile(
    rb"^\s*(?:from|import)\s+(?:flask|fastapi|streamlit|gradio|dash|bottle|aiohttp|tornado|starlette|django|sanic|quart|"
    rb"litserve|bentoml|falcon|chainlit)\b",
    re.MULTILINE,
)
_MAX_WEB_LOOKS = 200


def find_entry(app: str, explicit: str, env: Mapping[str, str] | None = None) -> Entry | None:
    """The code that serves, None when there is none.

    explicit  BP_ENTRYPOINT: `file.py` or `file.py:name`
    env       the app's settings, of which SageMaker's are read
    Raises    PackFailed: syntax-error, entrypoint-missing, ambiguous-entrypoint, two-contracts, cog-yaml
    """
    if explicit:
        file, _, name = explicit.partition(":")
        tree = parse(app, file) if is_inside(file) else None
        if tree is None:
            raise PackFailed("entrypoint-missing", file=file, expected="the file that BP_ENTRYPOINT names")
        entry = _named(app, tree, file, name) if name else _by_contract(app, tree, file)
        return entry._replace(why=f"{entry.why} (BP_ENTRYPOINT)")
    program = platforms.find_program(app, env or {})
    return program or cog.find(app) or _find_contract(app) or algorithmia.find_by_name(app) or _find_usual(app)


def _find_contract(app: str) -> Entry | None:
    candidates = [algorithmia.find(app), *platforms.find_sagemaker(app)]
    candidates += [platforms.find_handler(app), platforms.find_score(app)]
    found = [entry for entry in candidates if entry is not None]
    tree = parse(app, PREDICT_FILE)
    if tree is not None and all(entry.file != PREDICT_FILE for entry in found):
        if not found:
            return _predict_file(tree, PREDICT_FILE)
        # Beside another contract a predict.py that only runs as a program is nobody's entry point.
        if "predict" in names(tree) or _predictors(tree):
            found.append(_predict_file(tree, PREDICT_FILE))
    if len(found) > 1:
        raise PackFailed("two-contracts", found=[entry.why for entry in found], setting=found[0].file)
    return found[0] if found else None


def _named(app: str, tree: ast.Module, file: str, name: str) -> Entry:
    known = names(tree)
    node = classes(tree).get(name)
    if node is None and name not in known:
        raise PackFailed("entrypoint-missing", file=file, expected=f"'{name}', which BP_ENTRYPOINT names")
    if name == platforms.HANDLER_CLASS:
        contract = platforms.handler_entry(file, tree)
    elif name in platforms.SAGEMAKER_FUNCTIONS:
        contract = platforms.sagemaker_entry(app, file, tree)
    elif name == "run":
        contract = platforms.score_entry(file, tree)
    else:
        contract = None
    if contract is not None:
        return contract
    if node is not None:
        return _class_entry(node, file)
    return _function_entry(file, name, known[name], "algorithmia" if name == "apply" else "function")


def _by_contract(app: str, tree: ast.Module, file: str) -> Entry:
    return (
        platforms.sagemaker_entry(app, file, tree)
        or platforms.handler_entry(file, tree)
        or platforms.score_entry(file, tree)
        or _predict_file(tree, file)
    )


def _predict_file(tree: ast.Module, file: str) -> Entry:
    known = names(tree)
    predictors = _predictors(tree)
    of_cog = [node for node in predictors if cog.is_predictor(node)]
    if len(of_cog) == 1:
        return _class_entry(of_cog[0], file)
    if "predict" in known:
        return _function_entry(file, "predict", known["predict"])
    if len(predictors) > 1:
        listed = [node.name for node in predictors]
        raise PackFailed("ambiguous-entrypoint", file=file, names=listed, setting=f"{file}:{listed[0]}")
    if predictors:
        return _class_entry(predictors[0], file)
    if "apply" in known:
        return _function_entry(file, "apply", known["apply"], "algorithmia")
    raise PackFailed("entrypoint-missing", file=file, expected="a function predict, or a class with a method predict")


def _predictors(tree: ast.Module) -> list[ast.ClassDef]:
    """Classes with a method predict; of cog's, run will do."""
    return [
        node
        for node in classes(tree).values()
        if "predict" in methods(node) or (cog.is_predictor(node) and "run" in methods(node))
    ]


def _class_entry(node: ast.ClassDef, file: str) -> Entry:
    if cog.is_predictor(node):
        return Entry("cog", file, node.name, f"{file} line {node.lineno}: class {node.name} of Cog")
    return Entry("class", file, node.name, f"{file} line {node.lineno}: class {node.name} with predict")


def _function_entry(file: str, name: str, line: int, kind: str = "function") -> Entry:
    return Entry(kind, file, name, f"{file} line {line}: {name}")


def _find_usual(app: str) -> Entry | None:
    """A function predict in the only file of a usual name that has one: a plain one, that takes something."""
    found = []
    for file in USUAL_FILES:
        if b"def predict" not in read(app, file):
            continue
        tree = parse(app, file)
        node = None if tree is None else functions(tree).get("predict")
        if node is not None and not node.decorator_list and _takes_input(node):
            found.append(Entry("function", file, "predict", f"{file} line {node.lineno}: def predict"))
    if not found or _has_web_app(app):
        return None  # a web app decides for itself what its predict is for
    if len(found) > 1:
        raise PackFailed("two-contracts", found=[entry.why for entry in found], setting=found[0].file)
    return found[0]


def _takes_input(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return named[0].arg not in _HELPERS if named else bool(arguments.vararg or arguments.kwarg)


def _has_web_app(app: str) -> bool:
    return any(_WEB.search(read(app, file)) for file in python_files(app, "")[:_MAX_WEB_LOOKS])
