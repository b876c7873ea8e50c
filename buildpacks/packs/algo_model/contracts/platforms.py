"""Contracts of hosting platforms: SageMaker's functions, Hugging Face's handler, Azure's score.py."""

from __future__ import annotations

from buildpacks.packs.algo_model.contracts.entry import Entry
from buildpacks.packs.algo_model.contracts.syntax import classes, names, parse, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast

SAGEMAKER_FILES = ("code/inference.py", "inference.py", "model/code/inference.py")
SAGEMAKER_FUNCTIONS = ("transform_fn", "predict_fn", "model_fn", "input_fn", "output_fn")
HANDLER_FILES, HANDLER_CLASS = ("handler.py",), "EndpointHandler"
SCORE_FILES = ("score.py", "src/score.py")
_MAX_REQUIREMENTS = 200


def find_sagemaker(app: str) -> list[Entry]:
    """Files with SageMaker's functions. Raises PackFailed('syntax-error')."""
    found = [sagemaker_entry(app, file, _parse_with(app, file, b"_fn")) for file in SAGEMAKER_FILES]
    return [entry for entry in found if entry is not None]


def sagemaker_entry(app: str, file: str, tree: ast.Module | None) -> Entry | None:
    """What a file defines of the contract: a way to load, or to predict."""
    known = {} if tree is None else names(tree)
    if not {"model_fn", "transform_fn", "predict_fn"} & set(known):
        return None
    name = next(function for function in SAGEMAKER_FUNCTIONS if function in known)
    there = sorted((function for function in SAGEMAKER_FUNCTIONS if function in known), key=known.__getitem__)
    why = f"{file} line {known[there[0]]}: SageMaker's {', '.join(there)}"
    return Entry("sagemaker", file, name, why, _requirements_beside(app, file))


def find_handler(app: str) -> Entry | None:
    """handler.py with EndpointHandler. Raises PackFailed('syntax-error')."""
    for file in HANDLER_FILES:
        entry = handler_entry(file, _parse_with(app, file, HANDLER_CLASS.encode()))
        if entry is not None:
            return entry
    return None


def handler_entry(file: str, tree: ast.Module | None) -> Entry | None:
    """The handler's class, defined or imported."""
    if tree is None:
        return None
    node = classes(tree).get(HANDLER_CLASS)
    line = node.lineno if node is not None else names(tree).get(HANDLER_CLASS)
    if line is None:
        return None
    return Entry("huggingface", file, HANDLER_CLASS, f"{file} line {line}: Hugging Face's {HANDLER_CLASS}")


def find_score(app: str) -> Entry | None:
    """score.py with init and run. Raises PackFailed('syntax-error')."""
    for file in SCORE_FILES:
        entry = score_entry(file, _parse_with(app, file, b"def run"))
        if entry is not None:
            return entry
    return None


def score_entry(file: str, tree: ast.Module | None) -> Entry | None:
    """Both functions: run alone is anybody's name."""
    known = {} if tree is None else names(tree)
    if not {"init", "run"} <= set(known):
        return None
    return Entry("azure", file, "run", f"{file} line {known['run']}: Azure's init and run")


def _parse_with(app: str, file: str, word: bytes) -> ast.Module | None:
    # A file of that name which is something else may be as broken as it likes.
    return parse(app, file) if word in read(app, file) else None


def _requirements_beside(app: str, file: str) -> tuple[tuple[str, str], ...]:
    """SageMaker installs code/requirements.txt; at the top it is found by those who read requirements anyway."""
    folder = file.rpartition("/")[0]
    if not folder:
        return ()
    path = f"{folder}/requirements.txt"
    lines = read(app, path).decode("utf-8-sig", "replace").splitlines()[:_MAX_REQUIREMENTS]
    specs = [line.partition(" #")[0].strip() for line in lines]
    return tuple((spec, path) for spec in specs if spec and not spec.startswith(("#", "-")))
