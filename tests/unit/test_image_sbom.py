"""The bill of materials and the provenance of an image, read as their specifications say."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from buildpacks.image.oci import digest_of, image_id
from buildpacks.image.provenance import Origin, provenance
from buildpacks.image.sbom import lock_of, sbom
from buildpacks.image.values import MANIFEST, Blob
from buildpacks.order import BuildFailed
from tests.services.documents import LOCK, Shelf, make_shelf

STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 2.36-9+deb12u10
Description: GNU C Library
 contains the standard libraries.
Conffiles:
 /etc/ld.so.conf.d/x 593ad12389ab2b6f952e7ede67b8fbbf

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: adduser
Status: install ok installed
Architecture: all
Version: 1:3.134
"""


@pytest.fixture(name="shelf")
def _shelf(tmp_path: Path) -> Shelf:
    return make_shelf(tmp_path)


def made(shelf: Shelf, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sbom(shelf.document(), "alice/iris", STATUS, **options))
    return found


def component(found: dict[str, Any], name: str) -> dict[str, Any]:
    (only,) = (item for item in found["components"] if item["name"] == name)
    assert isinstance(only, dict)
    return only


def test_python_packages_come_from_the_lock(shelf: Shelf) -> None:
    doc = shelf.document()
    doc["lifecycle"] = {"buildpacks": [{"key": "algo/python", "layers": {"deps": {"data": {"lock": LOCK}}}}]}
    found = json.loads(sbom(doc, "alice/iris", ""))
    assert component(found, "joblib") == {
        "bom-ref": "pkg:pypi/joblib@1.4.2",
        "type": "library",
        "name": "joblib",
        "version": "1.4.2",
        "purl": "pkg:pypi/joblib@1.4.2",
        "hashes": [
            {"alg": "SHA-256", "content": "06d478d5674cbc267e7496a410ee875abd68e4340feff4490bcb7afb88060ae6"},
            {"alg": "SHA-256", "content": "2382c5816b2636fbd20a09e0f4e9dad4736765fdfb7dca582943b9c1366b3f0e"},
        ],
    }
    assert component(found, "threadpoolctl")["purl"] == "pkg:pypi/threadpoolctl@3.5.0%2Blocal"
    own = component(found, "own-package")
    assert (own["purl"], "version" in own, "hashes" in own) == ("pkg:pypi/own-package", False, False)
    assert own["properties"][0]["value"].startswith("git+ssh://")


def test_debian_packages_are_those_that_are_installed(shelf: Shelf) -> None:
    found = made(shelf)
    assert component(found, "libc6") == {
        "bom-ref": "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12",
        "type": "library",
        "name": "libc6",
        "version": "2.36-9+deb12u10",
        "purl": "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12",
    }
    assert component(found, "adduser")["purl"] == "pkg:deb/debian/adduser@1:3.134?arch=all&distro=debian-12"
    assert component(found, "debian")["type"] == "operating-system"
    assert "gone" not in {item["name"] for item in found["components"]}


def test_the_model_is_a_model_with_its_layer_and_its_sum(shelf: Shelf) -> None:
    doc = shelf.document()
    found = component(made(shelf, file_sha256={"model/iris.joblib": "a" * 64}), "model/iris.joblib")
    assert found["type"] == "machine-learning-model"
    assert found["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    layers = doc["layers"]
    assert isinstance(layers, list)
    assert isinstance(layers[1], dict)
    assert {item["name"]: item["value"] for item in found["properties"]} == {
        "algo:layer": layers[1]["diff_id"],
        "algo:model:framework": "sklearn",
        "algo:model:kind": "pickle",
        "algo:model:version": "1.5.2",
        "algo:model:size": "900",
    }
    assert "hashes" not in component(made(shelf), "model/iris.joblib")


def test_it_names_the_image_and_is_the_same_when_it_is_made_again(shelf: Shelf) -> None:
    doc = shelf.document()
    found = made(shelf)
    assert found["metadata"]["component"] == {
        "bom-ref": "image", "type": "container", "name": "alice/iris", "version": image_id(doc),
    }  # fmt: skip
    assert found["metadata"]["tools"]["components"] == [
        {"type": "application", "name": "algo/python", "version": "1.0.0"}
    ]
    assert "timestamp" not in found["metadata"]
    assert sbom(doc, "alice/iris", STATUS) == sbom(shelf.document(), "alice/iris", STATUS)
    other = json.loads(sbom(shelf.document(b"other"), "alice/iris", STATUS))
    assert other["serialNumber"] != found["serialNumber"]


def test_every_reference_in_it_is_unique_and_leads_somewhere(shelf: Shelf) -> None:
    found = made(shelf)
    refs = [item["bom-ref"] for item in found["components"]]
    assert len(refs) == len(set(refs))
    assert found["dependencies"] == [{"ref": "image", "dependsOn": refs}]


def test_an_image_of_this_machine_alone_has_none(shelf: Shelf) -> None:
    with pytest.raises(BuildFailed) as caught:
        sbom(shelf.document(stack=None), "alice/iris", "")
    assert caught.value.code == "no-stack"


def test_provenance_says_what_was_built_from_what(shelf: Shelf) -> None:
    doc = shelf.document()
    started = datetime(2026, 1, 2, 4, 4, 5, 678, tzinfo=timezone(timedelta(hours=1)))
    origin = Origin(
        app="alice/iris", commit_sha="0" * 40, builder="urn:algopush:server:0.1.0", build_id="17",
        started_at=started, finished_at=datetime(2026, 1, 2, 3, 4, 9, tzinfo=UTC), parameters={"BP_X": "1"},
    )  # fmt: skip
    subject = Blob(digest=digest_of(b"manifest"), size_bytes=8, media_type=MANIFEST)
    found = json.loads(provenance(doc, origin, "registry.example/alice/iris", subject))
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["predicateType"] == "https://slsa.dev/provenance/v1"
    assert found["subject"] == [
        {"name": "registry.example/alice/iris", "digest": {"sha256": subject.digest.removeprefix("sha256:")}}
    ]
    definition, run = found["predicate"]["buildDefinition"], found["predicate"]["runDetails"]
    assert definition["externalParameters"] == {"app": "alice/iris", "commit": "0" * 40, "settings": {"BP_X": "1"}}
    source, stack, lock = definition["resolvedDependencies"]
    assert source["digest"] == {"gitCommit": "0" * 40}
    assert (stack["uri"], stack["digest"]) == (
        f"oci:algo/bookworm-run@sha256:{'2' * 64}",
        {"sha256": "2" * 64},
    )
    assert base64.b64decode(lock["content"]).decode() == lock_of(doc)
    assert run["metadata"] == {
        "invocationId": "17",
        "startedOn": "2026-01-02T03:04:05Z",
        "finishedOn": "2026-01-02T03:04:09Z",
    }
