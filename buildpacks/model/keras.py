"""Keras models in their three files: `.keras` archives, full H5 files, H5 weights; signature from the configuration.

Source  keras 3.15: src/saving/saving_lib.py, src/legacy/saving/legacy_h5_format.py; Keras 2: batch_input_shape
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import BinaryIO

from buildpacks.model.file import ModelFile
from buildpacks.model.hdf5 import read_attributes
from buildpacks.model.tensors import Tensor, make_shape, render_tensors

_VERSION = re.compile(r"\d+\.\d+\.\d+[0-9A-Za-z.-]{0,20}")
MAX_LAYERS = 10_000


def from_archive(path: str, config: bytes, metadata: bytes) -> ModelFile:
    """A `.keras` file by two members of its archive. Raises ValueError for what is no JSON."""
    known = json.loads(metadata)
    version = str(known.get("keras_version", ""))[:40] if isinstance(known, dict) else ""
    detail: dict[str, str | int] = {"evidence": "zip with config.json, metadata.json and model.weights.h5"}
    return ModelFile(path, "keras", "keras", version, {**detail, **config_facts(config)})


def from_hdf5(file: BinaryIO, path: str) -> ModelFile | None:
    """An H5 file of Keras: full with `model_config`, weights with layer names; None for H5 of anybody else."""
    attributes = read_attributes(file)
    version = attributes.get("keras_version", b"")[:40].decode("utf-8", "replace")
    version = version if _VERSION.fullmatch(version) else ""
    detail: dict[str, str | int] = {}
    if "backend" in attributes:
        detail["backend"] = attributes["backend"][:40].decode("utf-8", "replace")
    if "model_config" in attributes:
        detail["evidence"] = "HDF5 with model_config"
        try:
            detail.update(config_facts(attributes["model_config"]))
        except (ValueError, RecursionError):
            return ModelFile(path, "unknown", "damaged", "", {"error": "model_config is no JSON"})
        return ModelFile(path, "keras", "h5", version, detail)
    file.seek(0)
    data = file.read(256 * 1024)
    if b"model_config" in data and not attributes:  # laid out as h5py does not by default: what the bytes say counts
        return ModelFile(path, "keras", "h5", version, {**detail, "evidence": "HDF5 with model_config"})
    is_weights = attributes.keys() & {"layer_names", "keras_version", "backend"} or any(
        word in data for word in (b"layer_names", b"_layer_checkpoint_dependencies", b"layers", b"kernel:0")
    )
    if not is_weights and not path.endswith((".weights.h5", "_weights.h5")):
        return None
    return ModelFile(path, "keras", "h5-weights", version, {**detail, "evidence": "HDF5 without model_config"})


def config_facts(config: bytes) -> dict[str, str | int]:
    """Class, inputs and outputs out of a model's configuration. Raises ValueError, RecursionError for no JSON."""
    document = json.loads(config)
    if not isinstance(document, dict):
        return {}
    facts: dict[str, str | int] = {"class": str(document.get("class_name", ""))[:80]}
    inner = document.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else inner  # Keras 1 and early 2: a bare list
    layers = [layer for layer in layers if isinstance(layer, dict)][:MAX_LAYERS] if isinstance(layers, list) else []
    inputs = _inputs(inner if isinstance(inner, dict) else {}, layers)
    if inputs:
        facts["inputs"] = render_tensors(inputs)
    outputs = _names(inner.get("output_layers")) if isinstance(inner, dict) else []
    if outputs:
        facts["outputs"] = render_tensors([Tensor(name, "", None) for name in outputs])
    custom = sorted({str(layer.get("registered_name")) for layer in layers if ">" in str(layer.get("registered_name"))})
    lambdas = any(layer.get("class_name") == "Lambda" for layer in layers)
    if custom or lambdas:
        facts["custom"] = ", ".join([*custom, *(["Lambda"] if lambdas else [])])[:200]
    return facts


def _inputs(inner: Mapping[str, object], layers: list[dict[str, object]]) -> list[Tensor]:
    found: dict[str, Tensor] = {}
    for layer in layers:
        config = layer.get("config")
        if not isinstance(config, dict):
            continue
        shape = config.get("batch_shape", config.get("batch_input_shape"))
        if isinstance(shape, list) and (layer.get("class_name") == "InputLayer" or not found):
            dtype = config.get("dtype")
            name = str(config.get("name", layer.get("name", "")))
            found[name] = Tensor(name, dtype if isinstance(dtype, str) else "float32", make_shape(shape))
    order = [name for name in _names(inner.get("input_layers")) if name in found]
    return [found[name] for name in order] or list(found.values())


def _names(value: object) -> list[str]:
    """Layer names out of [["a", 0, 0], ...], of ["a", 0, 0] alone, and of a dict of those."""
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return []
    if value and isinstance(value[0], str):
        return [value[0]]
    return [item[0] for item in value[:64] if isinstance(item, list) and item and isinstance(item[0], str)]
