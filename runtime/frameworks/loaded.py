"""What a loader hands over, and how a load that failed is told: with both versions and the line that mends it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..failure import BootFailed, Json, describe, render_trace
from ..model import Model
from ..refusal import Refused

# scikit-learn 1.4.2 release notes: "This release only includes support for numpy 2." Its metadata allows 2 before that.
FIRST_SKLEARN_WITH_NUMPY_2 = (1, 4, 2)
# What Keras 3 says of files that Keras 2 wrote: the old format of a folder or file, a class it no longer has, an
# argument that its layers no longer take.
KERAS_2_TEXTS = (
    "File format not supported",
    "Could not deserialize class",
    "Could not locate class",
    "Could not locate function",
    "Unrecognized keyword arguments",
    "Unable to revive model",
    "cannot be revived",
)


class NeedsCode(Exception):  # noqa: N818 -- a fact about the file, on its way to its owner
    """The file alone does not say how to predict. found: what it holds; needed: what to write."""

    def __init__(self, found: str, needed: str) -> None:
        self.found, self.needed = found, needed
        super().__init__(f"{found}: {needed}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What open_model returns.

    warning  one sentence for the log of the push, or None
    zeros    a body for POST /predict that the signature allows, or None where it does not say enough
    """

    model: Model
    warning: str | None = None
    zeros: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Which file, and the two versions that have to agree. written_by: None when the file does not say."""

    framework: str
    distribution: str
    version: str
    written_by: str | None
    model_file: str
    example: str | None
    app_dir: Path

    @property
    def loaded_with(self) -> str:
        """`xgboost 3.2.0`."""
        return f"{self.distribution} {self.version}"

    @property
    def differs(self) -> bool:
        """True when the file says that another version wrote it; a build's local part (`+cpu`) makes no other one."""
        return self.written_by is not None and _release(self.written_by) != _release(self.version)

    @property
    def requirement(self) -> str:
        """The line that installs what wrote the model, with the numpy that it was made for; '' when nobody knows."""
        if self.written_by is None:
            return ""
        written = _release(self.written_by)
        pin = f"{self.distribution}=={written}"
        numbers = tuple(int(part) for part in re.findall(r"\d+", written)[:3])
        old = self.framework == "sklearn" and numbers < FIRST_SKLEARN_WITH_NUMPY_2
        return f"{pin} (and a second one: numpy<2)" if old else pin


def _release(text: str) -> str:
    """`2.15.0` of `torch 2.15.0+cpu`."""
    return text.rpartition(" ")[2].partition("+")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFile:
    """A model file that is loaded and not asked yet. zeros, warning: as in Opened."""

    model: Model
    import_s: float
    load_s: float
    warning: str | None
    zeros: Any
    origin: Origin

    def zeros_failed(self, exc: BaseException) -> str:
        """A row that nobody vouches for failed: a warning, unless two versions differ: then it proves the skew.

        Raises  BootFailed, as for a failed load
        """
        if self.origin.differs:
            raise failure_of(exc, self.origin) from exc
        facts = describe(_told(exc), self.origin.app_dir)
        return f"a prediction for zeros raised {facts['type']}: {facts['message']}; an example.json tells more"

    def example_failed(self, exc: BaseException) -> BootFailed:
        """The failure of the example's prediction: example-failed, or the skew when the versions differ."""
        return failure_of(exc, self.origin, "example-failed")


def failure_of(exc: BaseException, origin: Origin, code: str = "load-failed") -> BootFailed:
    """An exception of a framework as what its owner can change.

    code  load-failed or example-failed: said when the versions are the same, or unknown
    """
    exc = _told(exc)
    fields: dict[str, Json] = {
        **describe(exc, origin.app_dir),
        "model_file": origin.model_file,
        "written_by": origin.written_by,
        "loaded_with": origin.loaded_with,
        "requirement": origin.requirement,
        "example": origin.example,
    }
    trace = render_trace(exc, origin.app_dir)
    if _may_be_keras_2(origin) and any(text in str(exc) for text in KERAS_2_TEXTS):
        return BootFailed("old-keras-file", log=trace, **fields)
    if origin.differs:
        return BootFailed("framework-skew", log=trace, **fields)
    if code == "example-failed":
        return BootFailed("example-failed", log=trace, **fields)
    if origin.framework == "sklearn":
        return BootFailed("load-failed", log=trace, **fields)
    return BootFailed("framework-load-failed", log=trace, **fields)


def _told(exc: BaseException) -> BaseException:
    """What the framework raised, where a caller would be told that the input does not fit: see blame.py."""
    return exc.__cause__ if isinstance(exc, Refused) and exc.__cause__ is not None else exc


def _may_be_keras_2(origin: Origin) -> bool:
    # Keras 3 says the same of layers that it does not know, and a file that it wrote itself names it.
    by_keras_3 = origin.framework == "keras" and origin.written_by is not None and "keras 3." in origin.written_by
    return origin.framework in {"keras", "tensorflow"} and not by_keras_3
