"""A model written by one version of a framework and loaded by another: what is known to go well, badly, or not at all.

Facts, each with what mends it:
    scikit-learn  pickles and skops are bound to the version; a difference may load, warn, fail, or fail at the first
                  prediction. Which of them only a start shows, so every difference of a minor version is a warning
    XGBoost       its own files: newer reads older, older does not read newer ones' fields; pickles: same version
    Keras         3 reads .keras of 3. A full H5 of Keras 2 often loads; layers whose arguments went (LSTM's time_major,
                  DepthwiseConv2D's groups) do not, in a .keras of Keras 2 neither: tf_keras exports those (measured)
    TensorFlow    SavedModel: TensorFlow 2 reads all of 1.x and 2.x that is not newer than itself
    torch.export  archives are read by the same or a newer version; TorchScript by all of 1.13 to 2.15 (measured)
    transformers  folders: newer reads older
Source  contracts 5.1, frameworks 1.3; XGBoost "Introduction to Model IO"; scikit-learn "Model persistence";
        tensorflow.org/guide/versions; keras.io/getting_started (Keras 3 and tf_keras)
"""

from __future__ import annotations

import re
from typing import NamedTuple

WARN, REFUSE = "warn", "refuse"
_NUMBER = re.compile(r"\d+")


class Skew(NamedTuple):
    """level: warn or refuse; reason: why it matters, in half a sentence; todo: the line that mends it."""

    level: str
    reason: str
    todo: str


def skew(package: str, written_by: str, loaded: str, *, kind: str = "") -> Skew | None:
    """What comes of loading, None when nothing is known to.

    package     name of the distribution: scikit-learn, xgboost, keras, tensorflow, torch, transformers
    written_by  version that wrote the file; loaded: version in the lock. '' for unknown
    kind        ModelFile.kind, where it matters: pickle, json, ubj, h5, keras, savedmodel, export
    """
    old, new = _numbers(written_by), _numbers(loaded)
    if not old or not new or old == new:
        return None
    pin = f"echo '{package}=={'.'.join(map(str, old))}' >> requirements.txt"
    match package:
        case "scikit-learn":
            return _sklearn(old, new, pin)
        case "xgboost":
            return _xgboost(old, new, pin, kind)
        case "keras":
            return _keras(old, new, pin)
        case "tensorflow":
            if new[0] == old[0] and new[:2] < old[:2]:
                return Skew(WARN, "a SavedModel is read by its own version and newer ones", pin.replace("==", ">="))
        case "torch" if kind in {"", "export"} and new[:2] < old[:2]:  # no other file of torch says who wrote it
            return Skew(REFUSE, "an archive of torch.export is read by its own version and newer ones", pin)
        case "transformers" if new[:2] < old[:2]:
            return Skew(WARN, "an older transformers may not know this architecture", pin.replace("==", ">="))
    return None


def _sklearn(old: tuple[int, ...], new: tuple[int, ...], pin: str) -> Skew | None:
    if old[:2] == new[:2]:
        return None
    return Skew(WARN, "scikit-learn promises nothing across versions; the start of the release tries it", pin)


def _xgboost(old: tuple[int, ...], new: tuple[int, ...], pin: str, kind: str) -> Skew | None:
    if kind == "pickle" and old[:2] != new[:2]:
        return Skew(WARN, "a pickle of XGBoost is bound to the version that wrote it", pin)
    if new[0] < old[0]:
        return Skew(REFUSE, "an older XGBoost does not read the files of a newer one", pin)
    if new[:2] < old[:2]:
        return Skew(WARN, "an older XGBoost may not read the files of a newer one", pin)
    return None


def _keras(old: tuple[int, ...], new: tuple[int, ...], pin: str) -> Skew | None:
    if old[0] < 3 <= new[0]:
        todo = (
            "if it fails: tf_keras.models.load_model(...).export('model') once, and commit that folder in its place; "
            "or write predict.py that uses tf_keras"
        )
        return Skew(WARN, "Keras 3 reads only part of what Keras 2 wrote", todo)
    if new[0] < old[0]:
        return Skew(REFUSE, "Keras 2 does not read files of Keras 3", pin)
    if new[:2] < old[:2]:
        return Skew(WARN, "an older Keras may not know the layers of a newer one", pin)
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in _NUMBER.findall(version.split("+", 1)[0])[:3])
