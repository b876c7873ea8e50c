"""Gradient boosting libraries' own files: XGBoost's JSON and UBJ, LightGBM's text, CatBoost's binary.

XGBoost writes its keys in alphabetical order: `learner` with attributes and feature names first, `learner_model_param`,
`objective` and `version` last. So the head and the tail of a file tell everything, whatever its trees weigh.

Source  xgboost 3.2 src/learner.cc (SaveModel, SaveModelToJson), doc/model.schema; LightGBM 4.7 gbdt_model_text.cpp;
        CatBoost catboost/libs/model/model.cpp (`CBM1`, FlatBuffers, JSON of parameters)
"""

from __future__ import annotations

import json
import os
import re
from typing import BinaryIO

from buildpacks.model.file import ModelFile

TAIL_BYTES = 1 << 16
MAX_NAMES_BYTES = 1 << 20
_JSON_VERSION = re.compile(rb'"version"\s*:\s*\[\s*(\d{1,4})\s*,\s*(\d{1,4})\s*,\s*(\d{1,4})')
_JSON_FACTS = {
    "features": re.compile(rb'"num_feature"\s*:\s*"?(\d{1,9})'),
    "classes": re.compile(rb'"num_class"\s*:\s*"?(\d{1,9})'),
    "objective": re.compile(rb'"objective"\s*:\s*\{[^{}]{0,200}?"name"\s*:\s*"([\w:]{1,60})"'),
}
_JSON_NAMES = re.compile(rb'"feature_names"\s*:\s*(\[[^\]]*\])')
_UBJ_STRING = rb"L\x00{7}([\x01-\xff])"
_UBJ_VERSION = re.compile(rb"version\[(?:#L[\s\S]{8})?(i[\s\S]|U[\s\S]|I[\s\S]{2}|l[\s\S]{4}|L[\s\S]{8}){3}")
_UBJ_NUMBER = {b"i": 1, b"U": 1, b"I": 2, b"l": 4, b"L": 8}


def read_xgboost(file: BinaryIO, head: bytes, path: str) -> ModelFile | None:
    """An XGBoost model by its first key, `learner`."""
    compact = head[:200].replace(b" ", b"").replace(b"\n", b"").replace(b"\r", b"")
    if compact.startswith((b'{"learner"', b'{"version":[')) and b"learner" in head:
        return _xgboost_json(file, path)
    if head[:2] in {b"{L", b"{i", b"{U", b"{#"} and b"learner" in head[:64]:
        return _xgboost_ubj(file, path)
    return None


def _xgboost_json(file: BinaryIO, path: str) -> ModelFile:
    head, tail = _ends(file)
    both = tail + head  # the tail first: an attribute of the user's must not decide
    version = _JSON_VERSION.search(tail) or _JSON_VERSION.search(head)
    detail: dict[str, str | int] = {"evidence": 'JSON, "learner"', "class": "Booster"}
    for name, pattern in _JSON_FACTS.items():
        found = pattern.search(both)
        if found is not None:
            text = found[1].decode("ascii", "replace")
            detail[name] = int(text) if text.isdigit() else text
    names = _JSON_NAMES.search(head)
    if names is not None:
        detail.update(_names(json.loads(names[1])))
    return ModelFile(path, "xgboost", "json", b".".join(version.groups()).decode() if version else "", detail)


def _xgboost_ubj(file: BinaryIO, path: str) -> ModelFile:
    head, tail = _ends(file)
    detail: dict[str, str | int] = {"evidence": 'UBJ, "learner"', "class": "Booster"}
    for name, key in (("features", b"num_feature"), ("classes", b"num_class")):
        text = _ubj_text(tail, key)
        if text.isdigit() and len(text) < 10:
            detail[name] = int(text)
    objective = _ubj_text(tail[max(0, tail.rfind(b"objective{")) :], b"name")
    if re.fullmatch(r"[\w:]{1,60}", objective):
        detail["objective"] = objective
    detail.update(_names(_ubj_names(head)))
    return ModelFile(path, "xgboost", "ubj", _ubj_version(tail), detail)


def _ubj_text(data: bytes, key: bytes) -> str:
    match = re.search(re.escape(key) + b"S" + _UBJ_STRING, data)
    return "" if match is None else data[match.end() : match.end() + match[1][0]].decode("utf-8", "replace")


def _ubj_names(head: bytes) -> list[object]:
    match = re.search(rb"feature_names\[#L([\s\S]{8})", head)
    if match is None:
        return []
    count, position, found = int.from_bytes(match[1], "big"), match.end(), []
    for _ in range(min(count, 100_000)):
        if head[position : position + 2] != b"SL":
            return []
        size = int.from_bytes(head[position + 2 : position + 10], "big")
        found.append(head[position + 10 : position + 10 + size].decode("utf-8", "replace"))
        position += 10 + size
    return list(found)


def _ubj_version(tail: bytes) -> str:
    match = _UBJ_VERSION.search(tail)
    if match is None:
        return ""
    position, numbers = match.start() + len(b"version["), []
    if tail[position : position + 1] == b"#":
        position += 10
    for _ in range(3):
        width = _UBJ_NUMBER[tail[position : position + 1]]
        numbers.append(str(int.from_bytes(tail[position + 1 : position + 1 + width], "big")))
        position += 1 + width
    return ".".join(numbers)


def read_lightgbm(file: BinaryIO, head: bytes, path: str) -> ModelFile | None:
    """A LightGBM model by its first two lines: `tree`, `version=`."""
    if not head.startswith((b"tree\nversion=", b"tree\r\nversion=")):
        return None
    file.seek(0)
    lines = file.read(MAX_NAMES_BYTES).split(b"\n", 40)
    known = dict(line.strip().split(b"=", 1) for line in lines[:40] if b"=" in line[:200])
    text = {key.decode("ascii", "replace"): value.decode("utf-8", "replace") for key, value in known.items()}
    detail: dict[str, str | int] = {
        "evidence": 'text, "tree", "version="', "class": "Booster", "format": text.get("version", "")[:20],
    }  # fmt: skip
    if text.get("max_feature_idx", "").isdigit() and len(text["max_feature_idx"]) < 10:
        detail["features"] = int(text["max_feature_idx"]) + 1
    if text.get("num_class", "").isdigit() and len(text["num_class"]) < 10:
        detail["classes"] = int(text["num_class"])
    if text.get("objective"):
        detail["objective"] = text["objective"][:60]
    detail.update(_names(list(text.get("feature_names", "").split())))
    return ModelFile(path, "lightgbm", "text", "", detail)


def read_catboost(file: BinaryIO, head: bytes, path: str) -> ModelFile | None:
    """A CatBoost model by its magic; its parameters, JSON inside, name the loss."""
    if not head.startswith(b"CBM1"):
        return None
    detail: dict[str, str | int] = {"evidence": '"CBM1"', "class": "CatBoost"}
    file.seek(0)
    data = file.read(MAX_NAMES_BYTES)
    loss = re.search(rb'"loss_function":\{"type":"(\w{1,60})"', data)
    if loss is not None:
        detail["objective"] = loss[1].decode()
    version = re.search(rb"catboost_version_info[\s\S]{1,80}?v?(\d{1,3}\.\d{1,3}(?:\.\d{1,3}){0,2})", data)
    return ModelFile(path, "catboost", "cbm", version[1].decode() if version else "", detail)


def _names(names: object) -> dict[str, str | int]:
    """Feature names as detail; LightGBM's `Column_0 ...` and the like say nothing."""
    if not isinstance(names, list) or not names or all(re.fullmatch(r"(?:Column_|f)\d+", str(n)) for n in names):
        return {}
    shown = json.dumps([str(name)[:100] for name in names[:256]])
    return {"names": shown} if len(shown) <= 8000 else {}


def _ends(file: BinaryIO) -> tuple[bytes, bytes]:
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(TAIL_BYTES)
    file.seek(max(0, end - TAIL_BYTES))
    return head, file.read(TAIL_BYTES)


def pickled_version(file: BinaryIO) -> str:
    """The version inside a pickled Booster, which holds a UBJ of its own; '' when it is compressed or far away."""
    head, tail = _ends(file)
    return _ubj_version(head) or _ubj_version(tail)
