"""Which classes and functions a pickle may name, framework by framework. What is on no list is told, never guessed.

An allow-list: lists of forbidden names have been passed by again and again (contracts 5.3). The second list here, of
names that run commands or read files, forbids nothing; it only decides how loudly the same answer is given.

Source  picklescan#66, modelscan#263, #330, #338 (bypasses of block-lists); classes as written by numpy 1 and 2,
        scipy, pandas 2 and 3, scikit-learn 1, joblib, xgboost 3, lightgbm 4, catboost 1.2, torch 2
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from buildpacks.model.opcodes import Global, Walk

MAX_TOLD = 30
_CLASS = r"_?[A-Z]\w*"
_BASE = {
    "builtins": ("bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "range", "set",
                 "slice", "str", "tuple", "bool"),
    "__builtin__": ("bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "set",
                    "slice", "str", "tuple", "unicode", "long", "bool", "xrange"),
    "collections": ("OrderedDict", "defaultdict", "deque", "Counter"),
    "copyreg": ("_reconstructor", "__newobj__"),
    "copy_reg": ("_reconstructor",),
    "_codecs": ("encode",),
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "uuid": ("UUID",),
    "pathlib": ("PurePosixPath", "PosixPath", "WindowsPath", "PureWindowsPath"),
}  # fmt: skip
_NUMBERS = (
    (
        r"numpy:(?:dtype|ndarray|matrix|bool_?|str_|bytes_|void|object_|generic|number|float(?:16|32|64|128)|"
        r"u?int(?:8|16|32|64)|complex(?:64|128)|datetime64|timedelta64|longdouble|intc|uintc|intp|int_|uint|longlong)"
    ),
    r"numpy\.(?:_?core|matrixlib\.defmatrix)(?:\.\w+)?:(?:_reconstruct|scalar|_frombuffer|matrix)",
    r"numpy\.dtypes:[A-Z]\w*DType",
    r"numpy\.ma(?:\.core)?:(?:_mareconstruct|MaskedArray)",
    r"numpy\.random\._pickle:__(?:bit_generator|randomstate|generator)_ctor",
    (
        r"numpy\.random\.(?:_\w+|bit_generator|mtrand):(?:MT19937|PCG64|PCG64DXSM|Philox|SFC64|Generator|RandomState|"
        r"SeedSequence|__pyx_unpickle_SeedSequence)"
    ),
    r"scipy\.sparse(?:\._?\w+)*:(?:cs[rc]|coo|bsr|dia|dok|lil)_(?:matrix|array)",
    r"scipy\.interpolate(?:\.\w+)*:(?:interp1d|BSpline|PPoly|CubicSpline|UnivariateSpline)",
    r"scipy\.stats\._(?:continuous|discrete)_distns:\w+_gen",
    r"scipy\.stats\._distn_infrastructure:rv_(?:continuous_|discrete_)?frozen",
    r"scipy\.spatial\._ckdtree:cKDTree",
    r"joblib\.numpy_pickle:NumpyArrayWrapper",
    (
        r"pandas(?:\.core\.\w+(?:\.\w+)*|\.arrays|\._libs(?:\.\w+)*)?:(?:DataFrame|Series|Index|RangeIndex|MultiIndex|"
        r"CategoricalIndex|DatetimeIndex|Int64Index|Float64Index|UInt64Index|Categorical|CategoricalDtype|StringDtype|"
        r"StringArray|ArrowStringArray|BlockManager|SingleBlockManager|BooleanArray|IntegerArray|FloatingArray|"
        r"(?:Int|UInt|Float)(?:8|16|32|64)Dtype|BooleanDtype|DatetimeTZDtype|Timestamp|Timedelta|Interval|"
        r"_new_Index|new_block|_unpickle_block|__pyx_unpickle_NDArrayBacked|_unpickle_timestamp|_timedelta_unpickle|"
        r"PandasArray|NumpyExtensionArray)"
    ),
)
_PUBLIC = (
    "calibration|cluster|compose|covariance|cross_decomposition|decomposition|discriminant_analysis|dummy|ensemble|"
    "feature_extraction|feature_selection|gaussian_process|impute|isotonic|kernel_approximation|kernel_ridge|"
    "linear_model|manifold|mixture|model_selection|multiclass|multioutput|naive_bayes|neighbors|neural_network|"
    "pipeline|preprocessing|random_projection|semi_supervised|svm|tree|_loss"
)
_SKLEARN = (
    rf"sklearn\.(?:{_PUBLIC})(?:\.\w+)*:{_CLASS}",
    r"sklearn\._loss\._loss:__pyx_unpickle_\w+",
    r"sklearn\.metrics\._scorer:(?:_Scorer|_PassthroughScorer|_PredictScorer|_BaseScorer)",
    r"sklearn\.metrics\._dist_metrics:(?:newObj|[A-Z]\w*)",
    (
        r"sklearn\.metrics\._(?:classification|regression|ranking):(?:accuracy_score|f1_score|r2_score|roc_auc_score|"
        r"mean_squared_error|mean_absolute_error|log_loss|precision_score|recall_score)"
    ),
    r"sklearn\.neighbors\._(?:kd|ball)_tree:(?:newObj|[A-Z]\w*)",
    r"sklearn\.neighbors\.(?:kde|kd_tree|ball_tree|dist_metrics):(?:newObj|[A-Z]\w*)",
    (
        r"sklearn\.feature_selection\._(?:univariate_selection|mutual_info):(?:f_classif|f_regression|chi2|"
        r"mutual_info_classif|mutual_info_regression|f_oneway)"
    ),
    r"sklearn\.utils(?:\._bunch)?:Bunch",
    r"sklearn\.utils\._set_output:_?[A-Z]\w*",
    r"sklearn\.externals\.joblib\.numpy_pickle:NumpyArrayWrapper",
)
_BOOSTERS = (
    r"xgboost\.(?:core:(?:Booster|DMatrix)|sklearn:XGB\w+)",
    r"lightgbm\.(?:basic:Booster|sklearn:(?:LGBM\w+|_LGBM\w+))",
    r"lightgbm\.compat:_?LGBM\w+",
    r"catboost\.core:CatBoost\w*",
    r"imblearn\.(?:pipeline|over_sampling|under_sampling|combine)(?:\.\w+)*:[A-Z]\w*",
)
_TORCH = (
    r"torch\._utils:_rebuild_(?:tensor|tensor_v2|parameter|parameter_with_state|sparse_tensor|qtensor)",
    r"torch\._tensor:_rebuild_from_type_v2",
    r"torch(?:\.cuda|\.storage)?:(?:\w+Storage|Size|Tensor|device|dtype)",
    r"torch:(?:float(?:16|32|64)|bfloat16|half|double|long|u?int(?:8|16|32|64)|bool|complex(?:64|128)|per_tensor_affine)",
    r"torch\.nn\.parameter:(?:Parameter|Buffer|UninitializedParameter)",
    r"torch\.nn\.modules\.\w+:[A-Z]\w*",
    r"torch\.serialization:_get_layout",
)
_WHOLE = {
    family: re.compile("|".join(patterns))
    for family, patterns in {"torch": (*_NUMBERS, *_TORCH), "": (*_NUMBERS, *_SKLEARN, *_BOOSTERS)}.items()
}
# Names that run code, load code or reach files and networks by themselves.
_LOUD_MODULES = frozenset({
    "os", "posix", "nt", "posixpath", "subprocess", "_posixsubprocess", "sys", "shutil", "socket", "_socket", "runpy",
    "importlib", "imp", "ctypes", "_ctypes", "pty", "code", "codeop", "webbrowser", "pip", "ensurepip", "marshal",
    "pickle", "_pickle", "cloudpickle", "dill", "types", "asyncio", "multiprocessing", "http", "urllib", "urllib2",
    "requests", "httpx", "ftplib", "smtplib", "telnetlib", "pdb", "bdb", "cProfile", "profile", "timeit", "trace",
    "threading", "_thread", "signal", "tempfile", "io", "_io", "fileinput", "inspect", "pydoc", "doctest", "commands",
    "platform", "site", "zipimport", "pkgutil", "gc", "idlelib", "lib2to3", "aiohttp", "distutils", "setuptools",
})  # fmt: skip
_LOUD_NAMES = frozenset({
    "eval", "exec", "execfile", "compile", "open", "__import__", "getattr", "setattr", "delattr", "input", "globals",
    "locals", "vars", "breakpoint", "apply", "file", "reduce", "map", "filter", "attrgetter", "methodcaller", "system",
    "popen", "runstring", "run_path", "load_library",
})  # fmt: skip


class Verdict(NamedTuple):
    """outside: names on no list, sorted; loud: those of them that run code by themselves; whole: read to its end."""

    outside: tuple[str, ...]
    loud: tuple[str, ...]
    whole: bool
    why: str


def judge(walk: Walk, framework: str) -> Verdict:
    """Hold a walked stream to the list of its framework ('torch', or any other for the rest)."""
    pattern = _WHOLE.get(framework, _WHOLE[""])
    outside = sorted(found for found in walk.globals if not _is_allowed(found, pattern))
    loud = [found for found in outside if _is_loud(found)]
    return Verdict(
        tuple(f"{found.module}.{found.name}" for found in outside),
        tuple(f"{found.module}.{found.name}" for found in loud),
        walk.complete,
        walk.why,
    )


def _is_allowed(found: Global, pattern: re.Pattern[str]) -> bool:
    return found.name in _BASE.get(found.module, ()) or pattern.fullmatch(f"{found.module}:{found.name}") is not None


def _is_loud(found: Global) -> bool:
    return found.module.split(".", 1)[0] in _LOUD_MODULES or found.name.rsplit(".", 1)[-1] in _LOUD_NAMES


def safety_facts(verdict: Verdict) -> dict[str, str | int]:
    """What ModelFile.detail keeps of a verdict: outside, loud (JSON lists), unread; nothing for a clean stream."""
    facts: dict[str, str | int] = {}
    if verdict.outside:
        facts["outside"] = json.dumps(verdict.outside[:MAX_TOLD])
    if verdict.loud:
        facts["loud"] = json.dumps(verdict.loud[:MAX_TOLD])
    if not verdict.whole:
        facts["unread"] = verdict.why
    return facts
