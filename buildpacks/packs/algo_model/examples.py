"""Sample requests of a repository: which file is one, and whether it knows its answers.

Source  Algorithmia's TEST_CASES.json; MLflow's input example; contracts/inference 2.4
"""

from __future__ import annotations

from buildpacks.model.file import ModelFile
from buildpacks.model.reading import is_file

# With answers, when they have some: the runtime reads which, and a file of another form is one request.
TESTS = ("TEST_CASES.json", "sample_input.json")
EXAMPLES = ("example.json", "sample.json", "input_example.json", "serving_input_example.json")


def find_tests(app: str, model: ModelFile | None) -> str | None:
    """The file of requests with expected answers: beside the model, else at the top."""
    return _find(app, model, TESTS)


def find_example(app: str, model: ModelFile | None) -> str | None:
    """A request that must not fail: MLflow's own input example, else a file beside the model or at the top."""
    if model is not None and "example" in model.detail:
        return str(model.detail["example"])
    return _find(app, model, EXAMPLES)


def _find(app: str, model: ModelFile | None, names: tuple[str, ...]) -> str | None:
    folders = [""]
    if model is not None and "/" in model.path:
        folders.insert(0, model.path.rsplit("/", 1)[0] + "/")
    for folder in folders:
        for name in names:
            if is_file(f"{app}/{folder}{name}"):
                return f"{folder}{name}"
    return None
