"""Files that the code opens and the repository lacks, found before anything is started.

Rules of this file
1. Refused is only what runs in any case: the module's own level of the entry and of what it imports, what is called
   from there, and the functions that load (LOADS) of the entry. Beneath an `if` or a `try` it is a warning.
2. A file that other code of the app writes or downloads is not missing.
3. Nothing is imported; at most MAX_FILES files of MAX_SOURCE_BYTES are read.
"""

from __future__ import annotations

import ast
import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from buildpacks.packs.cnb import PackFailed
from buildpacks.packs.literals import APP, constants_of, text_of
from buildpacks.packs.sources import (
    MAX_FILES,
    full_name,
    imported_names,
    is_inside,
    local_file,
    local_imports,
    own_expressions,
    parse_source,
    source_line,
)

LOADS = ("load", "setup", "model_fn", "init", "__init__", "load_context")
# Function -> place of the path among its arguments, and its name there.
_READERS: Mapping[str, tuple[int, str]] = {
    "open": (0, "file"), "io.open": (0, "file"), "gzip.open": (0, "filename"), "joblib.load": (0, "filename"),
    "torch.load": (0, "f"), "torch.jit.load": (0, "f"), "numpy.load": (0, "file"), "numpy.loadtxt": (0, "fname"),
    "pandas.read_csv": (0, "filepath_or_buffer"), "pandas.read_json": (0, "path_or_buf"),
    "pandas.read_pickle": (0, "filepath_or_buffer"), "pandas.read_parquet": (0, "path"),
    "pandas.read_excel": (0, "io"), "pandas.read_table": (0, "filepath_or_buffer"),
    "keras.models.load_model": (0, "filepath"), "tensorflow.keras.models.load_model": (0, "filepath"),
    "keras.saving.load_model": (0, "filepath"), "tensorflow.saved_model.load": (0, "export_dir"),
    "tensorflow.lite.Interpreter": (0, "model_path"), "onnxruntime.InferenceSession": (0, "path_or_bytes"),
    "xgboost.Booster": (1, "model_file"), "lightgbm.Booster": (1, "model_file"), "skops.io.load": (0, "file"),
    "safetensors.torch.load_file": (0, "filename"), "fasttext.load_model": (0, "path"),
    "PIL.Image.open": (0, "fp"), "cloudpickle.load": (0, "file"), "mlflow.pyfunc.load_model": (0, "model_uri"),
}  # fmt: skip
_READER_METHODS = frozenset({"load_model", "load_weights", "load_state_dict_from_file"})
_OTHER_MACHINES = (
    (re.compile(r"[A-Za-z]:[\\/]"), "Windows"), (re.compile(r"/Users/"), "a Mac"),
    (re.compile(r"/home/|/root/"), "somebody's home folder"), (re.compile(r"/content/"), "Colab"),
    (re.compile(r"/kaggle/"), "Kaggle"), (re.compile(r"/(?:dbfs|mnt|media|Volumes)/"), "another machine's disk"),
)  # fmt: skip
_SERVICE = re.compile(r"(?:s3a?|gs|gcs|abfss?|wasbs?|hdfs|hf|dbfs|models|runs)://?")
_HUB_NAME = re.compile(r"[\w.-]+(?:/[\w.-]+)?")
_LFS = b"version https://git-lfs.github.com/spec/v1"


class Reference(NamedTuple):
    """One place that opens something. kind: missing, lfs, foreign, service; path: as people see it.

    is_certain  it runs whenever the app starts
    """

    file: str
    line: int
    kind: str
    path: str
    is_certain: bool


def find_references(app: str, entry: str) -> list[Reference]:
    """What the entry and the files that it imports open and cannot have, in the order of files and lines."""
    found: list[Reference] = []
    waiting, seen = [(entry, True)], {entry}
    folders = _folders_of(entry)
    written: set[str] = set()
    while waiting and len(seen) <= MAX_FILES:
        file, is_certain = waiting.pop(0)
        tree = parse_source(app, file)
        if tree is None:
            continue
        names = imported_names(tree)
        known = {**_borrowed(app, names, file), **constants_of(tree, names, file)}
        certain = _certain_calls(tree, names, is_entry=file == entry) if is_certain else set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                opened = _opened(node, names)
                text = text_of(opened, known, names, file) if opened is not None else None
                if text is not None:
                    found += _judge(app, folders, Reference(file, node.lineno, "", text, id(node) in certain), node)
                else:
                    written |= _texts(node, known, names, file)
        for other in local_imports(app, tree, file):
            if other not in seen:
                seen.add(other)
                waiting.append((other, is_certain))
    return [one if posixpath.basename(one.path) not in written else one._replace(is_certain=False) for one in found]


def refuse_missing(app: str, entry: str) -> None:
    """Raises PackFailed: weights-missing, foreign-path, lfs-pointer for the first that the start of the entry opens."""
    for one in find_references(app, entry) if entry else ():
        if not one.is_certain:
            continue
        text = source_line(app, one.file, one.line)
        if one.kind == "lfs":
            raise PackFailed("lfs-pointer", path=one.path, size=_lfs_size(app, one.path))
        if one.kind == "foreign":
            raise PackFailed(
                "foreign-path", file=one.file, line=one.line, path=one.path, machine=_machine(one.path), text=text
            )
        if one.kind == "missing":
            raise PackFailed(
                "weights-missing", file=one.file, line=one.line, path=one.path, text=text, mend=_mend(app, one.path)
            )


def warnings_of(app: str, entry: str) -> list[str]:
    """A line for each that may be missing when it is wanted, and for what comes over the network; at most ten."""
    said = {
        "missing": "which is not in the repository", "lfs": "which is a Git LFS pointer",
        "foreign": "which is a path of another machine", "service": "which must be reachable when the app runs",
    }  # fmt: skip
    found = [
        f"{one.file} line {one.line} opens {one.path}, {said[one.kind]}"
        for one in (find_references(app, entry) if entry else ())
    ]
    return list(dict.fromkeys(found))[:10]


def _folders_of(entry: str) -> list[str]:
    """Where the app may be started: the top, and each folder on the way to its entry (`cd src && python app.py`)."""
    parts = entry.split("/")[:-1]
    return ["", *("/".join(parts[: count + 1]) + "/" for count in range(len(parts)))]


def _judge(app: str, folders: Sequence[str], one: Reference, call: ast.Call) -> list[Reference]:
    """The reference with its kind; none for what is there."""
    text = one.path
    if text.startswith(("http://", "https://")) or not text.strip() or "\n" in text:
        return []
    if _SERVICE.match(text):
        return [one._replace(kind="service")]
    if _machine(text):
        return [one._replace(kind="foreign")]
    if isinstance(call.func, ast.Attribute) and call.func.attr == "from_pretrained":
        is_folder = text.startswith((".", APP)) or os.path.isdir(f"{app}/{text}")  # noqa: PTH112 -- no pathlib
        if not is_folder:
            return [one._replace(kind="service")] if _HUB_NAME.fullmatch(text) else []
    if text.startswith(APP):
        text, folders = text.removeprefix(APP), [""]
    elif text.startswith(("/", "~")):
        return []
    path = posixpath.normpath(text)
    if path.startswith("..") or not is_inside(app, f"{app}/{path}/x"):
        return []
    there = next((f"{folder}{path}" for folder in folders if os.path.exists(f"{app}/{folder}{path}")), None)
    if there is None:
        return [one._replace(kind="missing", path=path)]
    return [one._replace(kind="lfs", path=there)] if _lfs_size(app, there) is not None else []


def _opened(call: ast.Call, names: Mapping[str, str]) -> ast.expr | None:
    """The expression of the path that a call reads; None for a call that reads no file."""
    name = full_name(call.func, names)
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    place = _READERS.get(name)
    if place is None and isinstance(call.func, ast.Attribute):
        if call.func.attr in _READER_METHODS:
            place = (0, "fname")
        elif call.func.attr == "from_pretrained":
            place = (0, "pretrained_model_name_or_path")
        elif call.func.attr in {"read_text", "read_bytes"} and not call.args:
            return call.func.value
    if place is None:
        return None
    if name in {"open", "io.open", "gzip.open"}:
        mode = call.args[1] if len(call.args) > 1 else given.get("mode")
        if mode is not None and not (isinstance(mode, ast.Constant) and str(mode.value).startswith("r")):
            return None
    return call.args[place[0]] if len(call.args) > place[0] else given.get(place[1])


def _texts(call: ast.Call, known: Mapping[str, str], names: Mapping[str, str], file: str) -> set[str]:
    """Names of files in the arguments of a call that is no reader: urlretrieve(url, "model.pkl") writes one."""
    texts = [text_of(arg, known, names, file) for arg in [*call.args, *(keyword.value for keyword in call.keywords)]]
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    is_path = (
        method in {"join", "Path", "dirname", "exists", "isfile", "isdir"}
        or full_name(call.func, names) == "pathlib.Path"
    )
    return set() if is_path else {posixpath.basename(text) for text in texts if text and "." in text}


def _certain_calls(tree: ast.Module, names: Mapping[str, str], *, is_entry: bool) -> set[int]:
    """ids of the calls that run when the module is imported, or, of an entry, when its model is loaded."""
    functions = {node.name: node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    found: set[int] = set()
    waiting: list[Sequence[ast.stmt]] = [tree.body]
    if is_entry:
        waiting += [functions[name].body for name in LOADS if name in functions]
        waiting += [
            method.body
            for node in tree.body
            if isinstance(node, ast.ClassDef)
            for method in node.body
            if isinstance(method, ast.FunctionDef) and method.name in LOADS
        ]
    entered: set[str] = set()
    while waiting:
        for call in _calls_of(waiting.pop()):
            found.add(id(call))
            name = full_name(call.func, names)
            if name in functions and name not in entered:
                entered.add(name)
                waiting.append(functions[name].body)
    return found


def _calls_of(body: Sequence[ast.stmt]) -> Iterator[ast.Call]:
    """Calls that run whenever the body does."""
    for node in body:
        if any(isinstance(inner, (ast.IfExp, ast.BoolOp)) for inner in own_expressions(node)):
            continue
        yield from (inner for inner in own_expressions(node) if isinstance(inner, ast.Call))
        if isinstance(node, ast.With) and not any("suppress" in ast.dump(item.context_expr) for item in node.items):
            yield from _calls_of(node.body)
        if isinstance(node, (ast.Return, ast.Raise)):
            return


def _borrowed(app: str, names: Mapping[str, str], file: str) -> dict[str, str]:
    """Constants of the app's other modules: `from config import MODEL_PATH`, `config.MODEL_PATH`."""
    known: dict[str, str] = {}
    for name, origin in names.items():
        module, _, wanted = origin.rpartition(".")
        for source, prefix in ((local_file(app, module, file) if module.strip(".") else None, ""),
                               (local_file(app, origin, file) if origin.strip(".") else None, f"{name}.")):  # fmt: skip
            tree = parse_source(app, source) if source is not None and source != file else None
            if tree is None or source is None:
                continue
            theirs = constants_of(tree, imported_names(tree), source)
            if prefix:
                known |= {f"{prefix}{key}": value for key, value in theirs.items()}
            elif wanted in theirs:
                known[name] = theirs[wanted]
    return known


def _machine(path: str) -> str:
    return next((machine for pattern, machine in _OTHER_MACHINES if pattern.match(path)), "")


def _lfs_size(app: str, path: str) -> int | None:
    try:
        with open(f"{app}/{path}", "rb") as file:
            head = file.read(200)
    except OSError:
        return None
    size = re.search(rb"^size (\d+)$", head, re.MULTILINE)
    return int(size[1]) if head.startswith(_LFS) and size else None


def _mend(app: str, path: str) -> str:
    """What to type for a file that was not pushed."""
    if os.path.isfile(f"{app}/{path}.dvc"):  # noqa: PTH113 -- no pathlib in buildpacks
        return f"dvc pull {path} && git add -f {path} && git commit -m weights && git push algo main"
    folder = posixpath.dirname(path)
    if folder and os.path.isfile(f"{app}/{folder}.dvc"):  # noqa: PTH113 -- no pathlib in buildpacks
        return f"dvc pull {folder} && git add -f {folder} && git commit -m weights && git push algo main"
    elsewhere = _elsewhere(app, posixpath.basename(path))
    if elsewhere:
        return f"the repository has {elsewhere}: correct the path, commit and push again"
    return f"git add -f {path}, commit and push again   (-f: perhaps .gitignore kept it back)"


def _elsewhere(app: str, name: str) -> str:
    """A file of that name two levels deep, in any case of letters; "" for none."""
    folders = ["", *sorted(entry.name for entry in os.scandir(app) if entry.is_dir(follow_symlinks=False))]
    for folder in folders:
        for other in sorted(os.listdir(f"{app}/{folder}" if folder else app)):
            if other.lower() == name.lower():
                return f"{folder}/{other}" if folder else other
    return ""
