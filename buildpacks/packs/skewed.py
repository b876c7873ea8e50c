"""Version skew between a model file and the lock, told or refused before anything is rolled out."""

from __future__ import annotations

from buildpacks.model.skew import REFUSE, skew
from buildpacks.packs.cnb import PackFailed


def check_skew(path: str, package: str, written_by: str, loaded: str, *, kind: str = "") -> str:
    """A line that warns; '' when the two versions go together.

    path     the model file; package, written_by: what wrote it; loaded: that package's version in the lock
    Raises   PackFailed('model-skew') for a pair that is known not to load
    """
    found = skew(package, written_by, loaded, kind=kind)
    if found is None:
        return ""
    if found.level == REFUSE:
        raise PackFailed(
            "model-skew", path=path, package=package, written_by=written_by, loaded=loaded, reason=found.reason,
            todo=found.todo,
        )  # fmt: skip
    return f"{path} was written by {package} {written_by}, and {loaded} will load it: {found.reason} ({found.todo})"
