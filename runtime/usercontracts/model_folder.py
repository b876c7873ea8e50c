"""The folder that other platforms unpack a model into, as it lies in the repository."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from ..settings import ServeDoc

CONVENTIONAL = ("model", "models", "artifacts")


def find_model_folder(serve: ServeDoc, app_dir: Path) -> Path:
    """Where code that is told "here is your model" looks for its files.

    SageMaker's archive has code/ beside the model's files, so code in code/ gets the folder around it. Otherwise a
    folder with a conventional name that holds the model, or is the only one; then the model's own folder; then the top.
    """
    code = PurePosixPath(serve.file or "").parent
    if code.name == "code":
        return app_dir / code.parent
    there = [name for name in CONVENTIONAL if (app_dir / name).is_dir()]
    if serve.model_file:
        around = PurePosixPath(serve.model_file).parts[0]
        if around in there:
            return app_dir / around
        return (app_dir / serve.model_file).parent
    return app_dir / there[0] if len(there) == 1 else app_dir
