"""What a file is, by its first bytes: framework, kind, version. Nothing of the file is executed.

A reader that stumbles says `unknown`: a damaged or hostile file is a fact about the repository, not an error of ours.

Source  contracts 5.1
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import BinaryIO

from buildpacks.model.file import HEAD_BYTES, ModelFile
from buildpacks.model.reading import open_plain

TYPE_CHECKING = False  # typing.TYPE_CHECKING without its import
if TYPE_CHECKING:
    from buildpacks.model.opcodes import Walk

LFS = b"version https://git-lfs.github.com/spec/v1"
_LFS_SIZE = re.compile(rb"^size (\d{1,15})$", re.MULTILINE)
_TORCH_LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_FAMILIES = {
    "sklearn": "sklearn",
    "torch": "torch",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
}
_DATA = frozenset({"numpy", "pandas", "scipy", "datetime", "collections", "decimal", "builtins"})
_STANDARD = frozenset({
    "builtins", "__builtin__", "collections", "copyreg", "copy_reg", "_codecs", "datetime", "decimal", "fractions",
    "functools", "operator", "uuid", "pathlib", "numpy", "joblib", "scipy", "__main__", "types",
})  # fmt: skip
_PICKLE_NAMES = (".pkl", ".pickle", ".joblib")


def inspect_file(host_path: str, path: str) -> ModelFile | None:
    """The model that a regular file holds, None when it holds none that we know.

    host_path  where it lies; path  its name in the repository
    returns    framework 'unknown' for a file that begins like a model and is damaged
    """
    file = open_plain(host_path)
    if file is None:
        return None
    with file:
        try:
            found = read_model(file, path)
            size_bytes = os.fstat(file.fileno()).st_size
        except Exception as error:  # noqa: BLE001 -- parsers of hostile bytes: any stumble means the same, and is told
            return ModelFile(path, "unknown", "damaged", "", {"error": type(error).__name__})
    if found is None:
        return None
    return found._replace(detail={**found.detail, "size": found.detail.get("size", size_bytes)})


def read_model(file: BinaryIO, path: str) -> ModelFile | None:
    """The model in an open file; raises whatever its parsers raise."""
    head = file.read(HEAD_BYTES)
    if head.startswith(LFS):
        size = _LFS_SIZE.search(head)
        return ModelFile(path, "lfs", "pointer", "", {"size": int(size[1]) if size else 0})
    file.seek(0)
    if head.startswith(b"PK\x03\x04"):
        from buildpacks.model.archives import read_archive

        return read_archive(file, path)
    return _by_head(file, head, path)


def _by_head(file: BinaryIO, head: bytes, path: str) -> ModelFile | None:
    # The readers are imported when their file is there: most repositories hold one model.
    if _looks_like_pickle(head):
        return _pickle(file, head, path)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        from buildpacks.model.keras import from_hdf5

        return from_hdf5(file, path)
    if b"learner" in head[:300] or head.startswith((b"tree\n", b"tree\r", b"CBM1")):
        from buildpacks.model.boosters import read_catboost, read_lightgbm, read_xgboost

        for read in (read_xgboost, read_lightgbm, read_catboost):
            found = read(file, head, path)
            if found is not None:
                return found
    from buildpacks.model.plain import read_plain

    flat = read_plain(file, head, path)
    if flat is not None:
        return flat
    return _weak(file, head, path)


def _weak(file: BinaryIO, head: bytes, path: str) -> ModelFile | None:
    """Files whose first bytes are those of many others: the whole structure decides."""
    if head[:1] == b"\x08" and len(head) > 1 and 1 <= head[1] <= 32:
        from buildpacks.model.onnx import read_onnx

        found = read_onnx(file, path)
        if found is not None or not path.endswith(".onnx"):
            return found
        return ModelFile(path, "unknown", "damaged", "", {"error": "no ONNX ModelProto"})
    if path.endswith(_PICKLE_NAMES) and head:
        return _old_pickle(file, path)
    return None


def _looks_like_pickle(head: bytes) -> bool:
    """Protocol 2 or newer, or the first bytes of a compression that joblib uses."""
    return (head[:1] == b"\x80" and head[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}) or head[:1] in {
        b"x", b"\x1f", b"B", b"\xfd", b"]",
    }  # fmt: skip


def _pickle(file: BinaryIO, head: bytes, path: str) -> ModelFile | None:
    from buildpacks.model.pickles import find_codec, read_pickle
    from buildpacks.model.safety import judge, safety_facts

    if _TORCH_LEGACY in head[:64]:
        return _torch_legacy(file, path)
    if head[:1] != b"\x80" and not find_codec(head):
        return _weak(file, head, path)
    found = read_pickle(file, head)
    if found is None:
        return None  # gzip and friends are not models by themselves
    family = _FAMILIES.get(found.module.split(".", maxsplit=1)[0], "pickle")
    detail: dict[str, str | int] = {"class": found.name[:80], "module": found.module[:120], **found.facts}
    if found.features is not None:
        detail["features"] = found.features
    detail.update(_imports(found.walk, family))
    detail["evidence"] = "pickle" if head[:1] == b"\x80" else f"pickle in {find_codec(head)}"
    detail.update(safety_facts(judge(found.walk, family)))
    return ModelFile(
        path, family, _kind(found.module, found.facts), _written_by(file, family, found.sklearn_version), detail
    )


def _imports(walk: Walk, family: str) -> dict[str, str | int]:
    """Packages beside the family's own that unpickling imports: a pipeline may end in another library's model."""
    tops = {found.module.split(".", maxsplit=1)[0] for found in walk.globals} - _STANDARD - {family}
    return {"imports": ", ".join(sorted(tops))[:200]} if tops else {}


def _kind(module: str, facts: Mapping[str, str | int]) -> str:
    """pickle: an object; container: a collection with objects in it; data: numbers, texts, tables, no model at all."""
    if module:
        return "data" if module.split(".", maxsplit=1)[0] in _DATA else "pickle"
    return "container" if facts.get("keys") or facts.get("version") else "data"


def _written_by(file: BinaryIO, family: str, sklearn_version: str) -> str:
    if family == "xgboost":
        from buildpacks.model.boosters import pickled_version

        return pickled_version(file)
    return sklearn_version if family in {"sklearn", "pickle"} else ""


def _torch_legacy(file: BinaryIO, path: str) -> ModelFile:
    """torch.save before 1.6: magic number, protocol, machine, then the object, each a pickle of its own."""
    from buildpacks.model.archives import torch_pickle
    from buildpacks.model.opcodes import Walk, walk_pickle
    from buildpacks.model.stream import Source

    file.seek(0)
    source = Source(iter(lambda: file.read(1 << 18), b""))
    walks = [walk_pickle(source) for _ in range(4)]
    last = walks[-1]
    whole = Walk(frozenset().union(*(w.globals for w in walks)), last.root, all(w.complete for w in walks), last.why)
    found = torch_pickle(whole, path, "legacy")
    return found._replace(detail={**found.detail, "evidence": "torch's magic number"})


def _old_pickle(file: BinaryIO, path: str) -> ModelFile | None:
    """Protocol 0 is plain text: only a whole walk that names a class tells it from any other."""
    from buildpacks.model.objects import class_of, object_facts
    from buildpacks.model.opcodes import Global, walk_pickle
    from buildpacks.model.safety import judge, safety_facts
    from buildpacks.model.stream import Source

    file.seek(0)
    walk = walk_pickle(Source(iter(lambda: file.read(1 << 18), b"")))
    if not walk.complete or not walk.globals:
        return None
    found = class_of(walk.root) or Global("", "")
    facts = object_facts(walk.root)
    version = str(facts.pop("version", ""))
    family = _FAMILIES.get(found.module.split(".", maxsplit=1)[0], "pickle")
    detail = {"class": found.name[:80], "module": found.module[:120], **facts, "evidence": "pickle of protocol 0"}
    return ModelFile(path, family, _kind(found.module, facts), version, {**detail, **safety_facts(judge(walk, family))})
