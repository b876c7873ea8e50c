"""Contracts of hosting platforms: SageMaker's functions, Hugging Face's handler, Azure's score.py."""

from __future__ import annotations

from buildpacks.packs.algo_model.contracts.entry import Entry
from buildpacks.packs.algo_model.contracts.lists import listed_in
from buildpacks.packs.algo_model.contracts.syntax import classes, is_inside, names, parse, read
from buildpacks.packs.cnb import PackFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast
    from collections.abc import Mapping

SAGEMAKER_FILES = ("code/inference.py", "inference.py", "model/code/inference.py")
PROGRAM, SUBMIT_DIRECTORY = "SAGEMAKER_PROGRAM", "SAGEMAKER_SUBMIT_DIRECTORY"
CODE_FOLDERS = ("code", "", "model/code")
SAGEMAKER_FUNCTIONS = ("transform_fn", "predict_fn", "model_fn", "input_fn", "output_fn")
HANDLER_FILES, HANDLER_CLASS = ("handler.py",), "EndpointHandler"
SCORE_FILES = ("score.py", "src/score.py")


def find_sagemaker(app: str) -> list[Entry]:
    """Files with SageMaker's functions. Raises PackFailed('syntax-error')."""
    found = [sagemaker_entry(app, file, _parse_with(app, file, b"_fn")) for file in SAGEMAKER_FILES]
    return [entry for entry in found if entry is not None]


def find_program(app: str, env: Mapping[str, str]) -> Entry | None:
    """The file that SAGEMAKER_PROGRAM names, in SAGEMAKER_SUBMIT_DIRECTORY or where SageMaker unpacks code.

    Source  sagemaker-inference 1.10.1, environment.py and transformer.py: a module's name, `.py` or not; its folder is
            /opt/ml/model/code when nobody says
    Raises  PackFailed: entrypoint-missing, syntax-error
    """
    program = env.get(PROGRAM, "").strip()
    if not program:
        return None
    name = program if program.endswith(".py") else f"{program}.py"
    folder = env.get(SUBMIT_DIRECTORY, "").strip().rstrip("/")
    folder = folder.removeprefix("/opt/ml/model").removeprefix("/opt/ml").removeprefix("/")
    for place in dict.fromkeys((folder, *CODE_FOLDERS)):
        file = f"{place}/{name}" if place else name
        tree = parse(app, file) if is_inside(file) else None
        if tree is None:
            continue
        entry = sagemaker_entry(app, file, tree)
        if entry is None:
            raise PackFailed(
                "entrypoint-missing", file=file, expected=f"model_fn, predict_fn or transform_fn ({PROGRAM})"
            )
        return entry._replace(why=f"{entry.why} ({PROGRAM})")
    raise PackFailed("entrypoint-missing", file=name, expected=f"the file that {PROGRAM} names")


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
    return listed_in(app, f"{folder}/requirements.txt") if folder else ()
