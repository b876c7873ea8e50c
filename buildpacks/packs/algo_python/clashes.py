"""Packages that install together and then fail at import, because one moved on and the other was pinned.  Pure.

Only what the user left open is bounded, and each bound is said; a bound that makes the set unsolvable is dropped.
Source  release notes of the packages named; messages as CPython prints them
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from buildpacks.packs.algo_python.names import canonical

_NUMBERS = re.compile(r"\d+")
_PIN = re.compile(r"===?\s*(\d[\w.!+]*)")
_LOCKED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)


class Clash(NamedTuple):
    """name older than `below` cannot live with dep as it is since `bound`.

    message  part of what Python says when they meet
    """

    name: str
    below: str
    dep: str
    bound: str
    message: str = ""


class Mend(NamedTuple):
    """The pair that clashes, and the requirement line that mends it."""

    pair: tuple[str, str]
    bound: str


_NUMPY2 = (
    r"numpy\.dtype size changed|_ARRAY_API not found|compiled using NumPy 1|multiarray failed to import|"
    r"Numpy is not available|np\.float_` was removed"
)
_PROTOBUF = r"Descriptors cannot (?:not )?be created directly|cannot import name 'builder' from 'google.protobuf"

KNOWN = (
    Clash("flask", "2.0", "jinja2", "<3.1", r"cannot import name '(?:escape|Markup)' from 'jinja2'"),
    Clash("flask", "2.0", "itsdangerous", "<2.1", r"cannot import name 'json' from 'itsdangerous'"),
    Clash("flask", "2.0", "werkzeug", "<2.1", r"cannot import name '(?:BaseResponse|BaseRequest)' from 'werkzeug"),
    Clash("flask", "2.3", "werkzeug", "<3", r"cannot import name 'url_(?:quote|decode|encode)' from 'werkzeug.urls'"),
    Clash("jinja2", "3.0", "markupsafe", "<2.1", r"cannot import name 'soft_unicode' from 'markupsafe'"),
    Clash("flask-restplus", "99", "werkzeug", "<1", r"cannot import name 'cached_property' from 'werkzeug'"),
    Clash("pandas", "2.2.2", "numpy", "<2", _NUMPY2),
    Clash("scikit-learn", "1.4.2", "numpy", "<2", _NUMPY2),
    Clash("scipy", "1.13", "numpy", "<2", _NUMPY2),
    Clash("matplotlib", "3.9", "numpy", "<2", _NUMPY2),
    Clash("torch", "2.3", "numpy", "<2", _NUMPY2),
    Clash("tensorflow", "2.18", "numpy", "<2", _NUMPY2),
    Clash("onnxruntime", "1.19", "numpy", "<2", _NUMPY2),
    Clash("opencv-python", "4.10", "numpy", "<2", _NUMPY2),
    Clash("opencv-python-headless", "4.10", "numpy", "<2", _NUMPY2),
    Clash("statsmodels", "0.14.2", "numpy", "<2", _NUMPY2),
    Clash("h5py", "3.11", "numpy", "<2", _NUMPY2),
    Clash("pywavelets", "1.6", "numpy", "<2", _NUMPY2),
    Clash("thinc", "8.3", "numpy", "<2", _NUMPY2),
    Clash("spacy", "3.8", "numpy", "<2", _NUMPY2),
    Clash("lightgbm", "4.4", "numpy", "<2", _NUMPY2),
    Clash("catboost", "1.2.6", "numpy", "<2", _NUMPY2),
    Clash("shap", "0.46", "numpy", "<2", _NUMPY2),
    Clash("gensim", "4.3.3", "scipy", "<1.13", r"cannot import name 'triu' from 'scipy.linalg'"),
    Clash("tensorflow", "2.9", "protobuf", "<3.21", _PROTOBUF),
    Clash("streamlit", "1.11", "protobuf", "<3.21", _PROTOBUF),
    Clash("streamlit", "1.22", "altair", "<5", r"No module named 'altair.vegalite.v4'"),
    Clash("tensorflow", "2.4", "h5py", "<3", r"'str' object has no attribute 'decode'"),
    Clash("keras", "2.4", "h5py", "<3", r"'str' object has no attribute 'decode'"),
    Clash("sentence-transformers", "2.3", "huggingface-hub", "<0.26",
          r"cannot import name 'cached_download' from 'huggingface_hub'"),
    Clash("diffusers", "0.26", "huggingface-hub", "<0.26",
          r"cannot import name 'cached_download' from 'huggingface_hub'"),
)  # fmt: skip

# Said by Python whoever asks: the package is read from the lock only when it is known.
_ALONE = (
    (r"No module named 'pkg_resources'", "setuptools", "<81"),
    (r"module 'numpy' has no attribute '(?:float|int|bool|object|str)'", "numpy", "<1.24"),
    (r"cannot import name '(?:secure_filename|cached_property)' from 'werkzeug'", "werkzeug", "<1"),
    (r"cannot import name '(?:Markup|escape|contextfilter|evalcontextfilter)' from 'jinja2'", "jinja2", "<3.1"),
)


def find_bounds(named: Mapping[str, str]) -> list[Clash]:
    """Clashes that a set of requirements will run into: the first of each dependency, which bounds the most.

    named  canonical name -> specifier; a dependency that is named with any version is the user's own
    """
    found: dict[str, Clash] = {}
    for clash in KNOWN:
        pin = _PIN.match(named.get(clash.name, ""))
        if pin is not None and _is_below(pin[1], clash.below) and not named.get(clash.dep):
            known = found.get(clash.dep)
            if known is None or _is_below(clash.bound[1:], known.bound[1:]):
                found[clash.dep] = clash
    return list(found.values())


def explain_import_failure(message: str, lock: str) -> Mend | None:
    """Which two locked packages a crash is about, and the line for requirements.txt that mends it; None: another cause.

    message  the last lines of the crashed process, or its exception alone
    lock     requirement lines of the image's dependency layer (its metadata `lock`)
    """
    versions = {canonical(name): version for name, version in _LOCKED.findall(lock)}
    for clash in KNOWN:
        if clash.message and re.search(clash.message, message) and clash.name in versions and clash.dep in versions:
            is_past = not _is_below(versions[clash.dep], clash.bound[1:])
            if _is_below(versions[clash.name], clash.below) and is_past:
                pair = (f"{clash.name} {versions[clash.name]}", f"{clash.dep} {versions[clash.dep]}")
                return Mend(pair, f"{clash.dep}{clash.bound}")
    for pattern, dep, bound in _ALONE:
        version = versions.get(dep, "")
        if re.search(pattern, message) and not (version and _is_below(version, bound[1:])):
            who = _importer(message)
            return Mend((who, f"{dep} {version}".strip()), f"{dep}{bound}")
    return None


def _importer(message: str) -> str:
    """The package whose file the traceback ends in."""
    files = re.findall(r"site-packages/([A-Za-z0-9_]+)", message)
    return files[-1] if files else "your code"


def _is_below(version: str, bound: str) -> bool:
    one, two = (tuple(map(int, _NUMBERS.findall(text.split("+")[0])))[:4] for text in (version, bound))
    return (*one, 0, 0, 0)[:4] < (*two, 0, 0, 0)[:4]
