"""Algorithms as Algorithmia ran them, unmodified, under the real shim: the ADK, its manifest, its data service."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.contract.runtime_shim import failing, running, serving

ALGORITHM = """
import Algorithmia
from adk import ADK

client = Algorithmia.client()


def load(modeldata):
    with open(modeldata.get_model("words")) as file:
        modeldata["words"] = file.read().split()
    with client.file("data://alice/things/more.json").getFile() as file:
        assert file.name.endswith("more.json")
    modeldata["more"] = client.file("data://alice/things/more.json").getJson()
    return modeldata


def apply(input, globals):
    return [globals["words"][input], globals["more"]]


ADK(apply, load, client).init(0)
"""


def manifest(content: bytes, **changes: Any) -> str:
    entry = {
        "name": "words", "source_uri": "data://alice/things/words.txt", "fail_on_tamper": True,
        "md5_checksum": hashlib.md5(content).hexdigest(), **changes,
    }  # fmt: skip
    return json.dumps({"required_files": [entry], "optional_files": []})


def frozen(content: bytes) -> str:
    document = json.loads(manifest(content))
    return json.dumps({**document, "lock_checksum": hashlib.md5(str(document).encode()).hexdigest()})


ALGO = serving("algorithmia", "src/algo.py", "apply")


def test_an_algorithm_finds_its_manifest_files_and_its_data_in_the_repository(tmp_path: Path) -> None:
    files = {
        "src/algo.py": ALGORITHM, "models/words.txt": "a b", "data/more.json": "[1]",
        "model_manifest.json": manifest(b"a b"),
    }  # fmt: skip
    with running(tmp_path, files, ALGO) as shim, shim.client() as client:
        assert client.post("/v1/algo/alice/iris", json=1).json()["result"] == ["b", [1]]


@pytest.mark.parametrize(
    ("files", "code", "fields"),
    [
        ({"model_manifest.json": manifest(b"a b")}, "manifest-file-missing", {"name": "words", "path": "words.txt"}),
        ({"model_manifest.json": manifest(b"a b"), "model/words.txt": "a c"}, "manifest-file-changed",
         {"name": "words", "path": "words.txt", "expected": hashlib.md5(b"a b").hexdigest(),
          "found": hashlib.md5(b"a c").hexdigest()}),
        ({"model_manifest.json": "{"}, "manifest-bad", {"path": "model_manifest.json"}),
        ({"model_manifest.json": '{"required_files": [{"source_uri": "x"}]}'}, "manifest-bad",
         {"message": "KeyError: 'name'"}),
        ({"model_manifest.json.freeze": frozen(b"a b").replace("true", "false"), "model/words.txt": "a b"},
         "manifest-bad", {"message": "it was changed after it was frozen (lock_checksum)"}),
    ],
)  # fmt: skip
def test_a_manifest_that_does_not_hold_ends_the_start(
    tmp_path: Path, files: Mapping[str, str], code: str, fields: Mapping[str, str]
) -> None:
    failure = failing(tmp_path, {"src/algo.py": ALGORITHM, **files}, ALGO)
    assert failure["code"] == code, failure
    assert fields.items() <= failure["fields"].items()


def test_a_frozen_manifest_that_is_whole_is_used_and_a_call_to_the_cluster_is_refused(tmp_path: Path) -> None:
    code = ALGORITHM.replace('return [globals["words"][input]', 'return client.algo("a/b").pipe(1) if input else [1')
    files = {
        "src/algo.py": code, "models/words.txt": "a b", "more.json": "{}",
        "model_manifest.json": "not read", "model_manifest.json.freeze": frozen(b"a b"),
    }  # fmt: skip
    with running(tmp_path, files, ALGO) as shim, shim.client() as client:
        assert client.post("/predict", json=0).json() == [1, {}]
        reply = client.post("/v1/algo/alice/iris", json=1).json()
        assert reply["error"]["message"].startswith("client().algo: there is no Algorithmia cluster here")
