"""Models that are zip archives: torch, Keras 3, skops. The directory of the archive is read, and few of its members.

Source  contracts 5.1, measured on torch 2.13, keras 3.15, skops 0.16; torch/_export/serde/schema.py (pt2)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from buildpacks.model.file import MAX_SCAN_BYTES, ModelFile
from buildpacks.model.opcodes import Walk, walk_pickle
from buildpacks.model.safety import judge, safety_facts
from buildpacks.model.stream import Source
from buildpacks.model.tensors import Tensor, make_shape, render_tensors

if TYPE_CHECKING:
    from zipfile import ZipFile

MAX_ENTRIES = 100_000
MAX_MEMBER_BYTES = 8 << 20
_CHUNK = 1 << 18
# Globals of a torch pickle that only rebuild tensors; anything else is a module or a user's class.
_TENSOR_MODULES = frozenset({
    "collections", "torch", "torch._utils", "torch._tensor", "torch.serialization", "torch.storage",
    "torch.nn.parameter", "numpy", "builtins", "__builtin__",
})  # fmt: skip
_EXPORTED = re.compile(r"models/[\w.-]+\.json|serialized_exported_program\.json")
_SCALARS = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64", 9: "complex32",
    10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16",
}  # fmt: skip
_FORWARD = re.compile(r"def forward\(\w+: \w[\w.]*(?P<rest>[^)]*)\)")
_ARGUMENT = re.compile(r"(\w+): (\w+(?:\[[^\]]*\]+)?)(?:=[^,]*)?(?:,|$)")


def read_archive(file: BinaryIO, path: str) -> ModelFile | None:
    """The model in a zip archive, or None. Raises zipfile.BadZipFile and friends: the caller judges a broken file."""
    import zipfile  # late: few repositories hold one

    with zipfile.ZipFile(file) as archive:
        names = [info.filename for info in archive.infolist()[:MAX_ENTRIES]]
        return _skops(archive, names, path) or _keras(archive, names, path) or _torch(archive, names, path)


def _torch(archive: ZipFile, names: list[str], path: str) -> ModelFile | None:
    tops = {name.split("/", 1)[0] for name in names}
    if len(tops) != 1:
        return _exported(archive, "", names, path)  # the first torch.export wrote no top folder
    top = tops.pop()
    inner = {name[len(top) + 1 :] for name in names}
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return _torchscript(archive, top, sorted(inner), path)
    if "archive_format" in inner and _read(archive, f"{top}/archive_format").strip() == b"pt2":
        return _exported(archive, f"{top}/", sorted(inner), path) or ModelFile(path, "torch", "export")
    if "serialized_exported_program.json" in inner:
        return _exported(archive, f"{top}/", sorted(inner), path)
    if "data.pkl" in inner:
        return _torch_pickle(archive, top, path)
    return None


def _torch_pickle(archive: ZipFile, top: str, path: str) -> ModelFile:
    with archive.open(f"{top}/data.pkl") as member:
        walk = walk_pickle(Source(_pieces(member)))
    found = torch_pickle(walk, path)
    return found._replace(detail={**found.detail, "evidence": "zip with data.pkl"})


def torch_pickle(walk: Walk, path: str, kind: str = "") -> ModelFile:
    """A torch.save file by its walked pickle. kind '': state_dict or module, as its names say."""
    modules = {found.module for found in walk.globals}
    kind = kind or ("state_dict" if walk.complete and modules <= _TENSOR_MODULES else "module")
    classes = sorted(f"{g.module}.{g.name}" for g in walk.globals if g.module not in _TENSOR_MODULES)
    own = [name for name in classes if not name.startswith("torch.")]
    detail: dict[str, str | int] = {"classes": ", ".join((own or classes)[:5])[:300]} if classes else {}
    return ModelFile(path, "torch", kind, "", {**detail, **safety_facts(judge(walk, "torch"))})


def _torchscript(archive: ZipFile, top: str, inner: list[str], path: str) -> ModelFile:
    detail: dict[str, str | int] = {"evidence": "zip with constants.pkl and code/"}
    if "version" in inner:
        detail["archive_version"] = _text(_read(archive, f"{top}/version"))
    # The first class of data.pkl is the model's; its source says what forward takes.
    match = re.search(
        rb"c(__torch__[\w.]*)\n(\w+)\n", _read(archive, f"{top}/data.pkl") if "data.pkl" in inner else b""
    )
    if match is not None:
        detail["class"] = match[2].decode("ascii", "replace")[:80]
        source = f"code/{match[1].decode('ascii', 'replace').replace('.', '/')}.py"
        if source in inner:
            detail.update(_forward(_read(archive, f"{top}/{source}").decode("utf-8", "replace"), match[2].decode()))
    return ModelFile(path, "torch", "torchscript", "", detail)


def _forward(source: str, name: str) -> dict[str, str | int]:
    place = source.find(f"class {name}(")
    match = _FORWARD.search(source, place) if place >= 0 else None
    if match is None:
        return {}
    arguments = _ARGUMENT.findall(match["rest"].replace("\n", " ").lstrip(", "))
    return (
        {"inputs": render_tensors([Tensor(name, kind.strip(), None) for name, kind in arguments])} if arguments else {}
    )


def _exported(archive: ZipFile, top: str, inner: list[str], path: str) -> ModelFile | None:
    name = next((name for name in inner if _EXPORTED.fullmatch(name)), None)
    if name is None:
        return None
    detail: dict[str, str | int] = {"evidence": "zip of torch.export"}
    if "archive_version" in inner:
        detail["archive_version"] = _text(_read(archive, f"{top}archive_version"))
    document = json.loads(_read(archive, f"{top}{name}"))
    version = str(document.get("torch_version", ""))[:40]
    graph = document["graph_module"]
    values = graph["graph"].get("tensor_values", {})
    for key, side, wanted in (("inputs", "input_specs", "user_input"), ("outputs", "output_specs", "user_output")):
        tensors = []
        for spec in graph["signature"].get(side, [])[:1000]:
            argument = spec.get(wanted, {}).get("arg", {}).get("as_tensor") if isinstance(spec, dict) else None
            if isinstance(argument, dict):
                tensors.append(_exported_tensor(str(argument.get("name", "")), values))
        if tensors:
            detail[key] = render_tensors(tensors)
    detail.update(_inner_pickles(archive, top, inner))
    return ModelFile(path, "torch", "export", "" if version == "None" else version, detail)


def _inner_pickles(archive: ZipFile, top: str, inner: list[str]) -> dict[str, str | int]:
    """What torch.save files inside an archive name beyond their list: sample inputs, constants."""
    import io
    import zipfile

    facts: dict[str, str | int] = {}
    for name in [name for name in inner if name.endswith((".pt", ".pth"))][:20]:
        with zipfile.ZipFile(io.BytesIO(_read(archive, f"{top}{name}"))) as saved:
            for member in [member for member in saved.namelist()[:MAX_ENTRIES] if member.endswith("data.pkl")][:1]:
                walk = walk_pickle(Source(iter([_read(saved, member)])))
                facts.update(safety_facts(judge(walk, "torch")))
    return facts


def _exported_tensor(name: str, values: dict[str, object]) -> Tensor:
    value = values.get(name)
    if not isinstance(value, dict):
        return Tensor(name, "", None)
    sizes = value.get("sizes")
    shape = [s.get("as_int") if isinstance(s, dict) else None for s in sizes] if isinstance(sizes, list) else None
    dtype = _SCALARS.get(value["dtype"], "") if isinstance(value.get("dtype"), int) else ""
    return Tensor(name, dtype, None if shape is None else make_shape(shape))


def _keras(archive: ZipFile, names: list[str], path: str) -> ModelFile | None:
    if not {"config.json", "metadata.json", "model.weights.h5"} <= set(names):
        return None
    from buildpacks.model.keras import from_archive

    return from_archive(path, _read(archive, "config.json"), _read(archive, "metadata.json"))


def _skops(archive: ZipFile, names: list[str], path: str) -> ModelFile | None:
    if "schema.json" not in names:
        return None
    schema = json.loads(_read(archive, "schema.json"))
    if not isinstance(schema, dict) or "_skops_version" not in schema:
        return None
    module = str(schema.get("__module__", ""))
    framework = "sklearn" if module.split(".", maxsplit=1)[0] == "sklearn" else "pickle"
    text = json.dumps(schema)
    version = re.search(r'"_sklearn_version"[^{]*\{[^}]*?"content": "(?:\\")?([0-9][0-9A-Za-z.]{1,20})', text)
    features = re.search(r'"n_features_in_"[^{]*\{[^}]*?"content": "(\d{1,6})"', text)
    detail: dict[str, str | int] = {
        "class": str(schema.get("__class__", ""))[:80], "skops": str(schema["_skops_version"])[:20],
        "evidence": "zip with skops' schema.json",
    }  # fmt: skip
    if features is not None:
        detail["features"] = int(features[1])
    return ModelFile(path, framework, "skops", version[1] if version else "", detail)


def _pieces(member: object) -> Iterator[bytes]:
    seen = 0
    while seen < MAX_SCAN_BYTES:
        piece = member.read(_CHUNK)  # type: ignore[attr-defined]  # zipfile.ZipExtFile, imported late
        if not piece:
            return
        seen += len(piece)
        yield piece


def _read(archive: ZipFile, name: str) -> bytes:
    with archive.open(name) as member:
        return member.read(MAX_MEMBER_BYTES)


def _text(data: bytes) -> str:
    return data[:40].decode("ascii", "replace").strip()
