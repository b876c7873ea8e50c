"""A document's OCI configuration and manifest: the bytes that name an image, the same wherever they are made."""

from __future__ import annotations

import io
import json
import tarfile
import tomllib
from pathlib import Path

import pytest

from buildpacks.image.document import table, table_list
from buildpacks.image.labels import pinned
from buildpacks.image.oci import (
    EMPTY,
    EMPTY_TYPE,
    blob_of,
    config_layer_tar,
    digest_of,
    image_config,
    image_id,
    image_manifest,
    referrer_manifest,
)
from buildpacks.image.values import LAYER_GZIP, MANIFEST, Blob
from buildpacks.order import BuildFailed, Json
from tests.services.documents import LOCK, Shelf, make_shelf

# Changed bytes mean that every image of every server gets a new name: change it only on purpose.
GOLDEN_ID = "sha256:60815564f62fe3a58769bf06cc47108b6a8c3425dc19908cd9edf4b6b015f112"
GOLDEN_MANIFEST = "sha256:bfdaa837f7f3142458b26caac22a3f53c49f28433c52461420a66a7b9762eb2f"


@pytest.fixture(name="shelf")
def _shelf(tmp_path: Path) -> Shelf:
    return make_shelf(tmp_path)


def test_a_known_document_has_a_known_image_id(shelf: Shelf) -> None:
    assert image_id(shelf.document()) == GOLDEN_ID


def test_a_known_image_has_a_known_manifest(shelf: Shelf) -> None:
    layer = Blob(digest=digest_of(b"layer"), size_bytes=5, media_type=LAYER_GZIP)
    manifest = image_manifest(image_config(shelf.document()), [layer], {"a": "b"})
    assert digest_of(manifest) == GOLDEN_MANIFEST
    assert json.loads(manifest)["layers"] == [{"digest": layer.digest, "mediaType": LAYER_GZIP, "size": 5}]


def test_layers_stand_in_order_and_each_has_its_line_of_history(shelf: Shelf) -> None:
    doc = shelf.document()
    config = json.loads(image_config(doc))
    base = shelf.stacks.base.layers[0].diff_id
    ours = [layer["diff_id"] for layer in table_list(doc["layers"])]
    assert config["rootfs"]["diff_ids"] == [base, ours[0], digest_of(config_layer_tar(doc)), *ours[1:]]
    assert [entry["created_by"] for entry in config["history"]] == [
        "algo/bookworm-run:1", "layers/algo_python/deps", "layers/config", "model/iris.joblib", "application",
    ]  # fmt: skip
    assert {entry["created"] for entry in config["history"]} == {config["created"]} == {"1980-01-01T00:00:01Z"}


def test_the_process_runs_without_rights_and_serves_on_its_own(shelf: Shelf) -> None:
    config = json.loads(image_config(shelf.document()))
    process = config["config"]
    assert process["User"] == "1000:1000"
    assert process["Entrypoint"] == ["python", "-P", "-m", "_gitserver_runtime"]
    assert process["WorkingDir"] == "/workspace"
    assert process["Env"] == [
        "ALGO_SERVE={}", "CNB_APP_DIR=/workspace", "CNB_LAYERS_DIR=/layers", "CNB_PLATFORM_API=0.12",
        "LANG=C.UTF-8", "PATH=/layers/algo_python/deps/bin:/usr/bin:/bin", "PORT=8080",
    ]  # fmt: skip
    assert process["ExposedPorts"] == {"8080/tcp": {}}
    assert process["Healthcheck"]["Test"][:4] == ["CMD", "/usr/bin/python3.11", "-IS", "-c"]
    assert (config["architecture"], config["os"]) == ("amd64", "linux")


def test_a_port_that_the_application_names_stays(shelf: Shelf) -> None:
    launch: dict[str, Json] = {"argv": ["x"], "env": {"PORT": "9000"}, "cwd": "/workspace"}
    assert "PORT=9000" in json.loads(image_config(shelf.document(launch=launch)))["config"]["Env"]


def test_an_image_without_an_interpreter_has_nobody_to_ask_for_its_health(shelf: Shelf) -> None:
    assert "Healthcheck" not in json.loads(image_config(shelf.document(python=None)))["config"]


def test_an_image_without_a_default_process_starts_nothing(shelf: Shelf) -> None:
    process = json.loads(image_config(shelf.document(launch=None)))["config"]
    assert (process["Entrypoint"], process["WorkingDir"]) == ([], "/workspace")


def test_the_platform_is_that_of_the_base(shelf: Shelf) -> None:
    doc = shelf.document()
    stack = table(doc["stack"])
    stack["config"] = {**table(stack["config"]), "architecture": "arm64", "variant": "v8"}
    config = json.loads(image_config(doc))
    assert (config["architecture"], config["os"], config["variant"]) == ("arm64", "linux", "v8")


def test_labels_are_those_that_the_reference_rebaser_reads(shelf: Shelf) -> None:
    doc = shelf.document()
    labels = json.loads(image_config(doc))["config"]["Labels"]
    deps, model, app = (layer["diff_id"] for layer in table_list(doc["layers"]))
    found = json.loads(labels["io.buildpacks.lifecycle.metadata"])
    assert found == {
        "app": [{"sha": model}, {"sha": app}],
        "buildpacks": [
            {
                "key": "algo/python",
                "version": "1.0.0",
                "layers": {
                    "deps": {
                        "sha": deps, "build": False, "launch": True, "cache": False,
                        "data": {"lock": digest_of((LOCK * 4).encode()), "python": "3.11.2"},
                    }
                },
            }
        ],
        "config": {"sha": digest_of(config_layer_tar(doc))},
        "launcher": {"sha": ""},
        "process-types": {"sha": ""},
        "runImage": {
            "image": "algo/bookworm-run:1",
            "reference": f"algo/bookworm-run@sha256:{'2' * 64}",
            "topLayer": shelf.stacks.base.layers[-1].diff_id,
        },
    }  # fmt: skip
    assert json.loads(labels["io.buildpacks.build.metadata"]) == {
        "buildpack-default-process-type": "web",
        "buildpacks": [{"id": "algo/python", "version": "1.0.0", "api": "0.11"}],
        "processes": [{"type": "web", "command": ["python"], "args": ["-m", "x"]}],
    }
    assert {name: value for name, value in labels.items() if not name.endswith(".metadata")} == {
        "algo.framework": "sklearn",
        "algo.framework.version": "1.5.2",
        "algo.image": "1",
        "algo.model.kind": "pickle",
        "algo.model.path": "model/iris.joblib",
        "algo.serve.kind": "model-file",
        "io.buildpacks.base.distro.name": "debian",
        "io.buildpacks.base.distro.version": "12",
        "io.buildpacks.rebasable": "true",
        "org.opencontainers.image.base.digest": f"sha256:{'2' * 64}",
        "org.opencontainers.image.base.name": "algo/bookworm-run:1",
        "team": "iris",
    }


def test_an_application_cannot_give_itself_the_labels_by_which_the_server_finds_its_own(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path, labels={"algo.stack": "1", "maintainer": "them"})
    labels: dict[str, Json] = {"algo.app": "7", "io.buildpacks.rebasable": "false", "mine": "1"}
    found = json.loads(image_config(shelf.document(labels=labels)))["config"]["Labels"]
    assert (found.get("algo.app"), found.get("algo.stack"), found["io.buildpacks.rebasable"]) == (None, None, "true")
    assert (found["mine"], found["maintainer"]) == ("1", "them")


def test_the_topmost_layer_holds_what_a_launcher_reads(shelf: Shelf) -> None:
    with tarfile.open(fileobj=io.BytesIO(config_layer_tar(shelf.document()))) as tar:
        file = tar.extractfile("layers/config/metadata.toml")
        assert file is not None
        found = tomllib.loads(file.read().decode())
    assert found["buildpack-default-process-type"] == "web"
    assert found["processes"] == [{"type": "web", "command": ["python"], "args": ["-m", "x"]}]


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"base": "host", "stack": None}, "no-stack"), ({"base": "dockerfile", "stack": None}, "dockerfile-image")],
)
def test_an_image_without_a_base_of_ours_cannot_be_assembled(shelf: Shelf, changes: dict[str, Json], code: str) -> None:
    with pytest.raises(BuildFailed) as caught:
        image_config(shelf.document(**changes))
    assert caught.value.code == code


def test_a_referrer_names_its_subject_and_the_empty_configuration(shelf: Shelf) -> None:
    subject = blob_of(b"{manifest}", MANIFEST)
    blob = blob_of(b"{sbom}", "application/vnd.cyclonedx+json")
    found = json.loads(referrer_manifest("application/vnd.cyclonedx+json", blob, subject, {}))
    assert found["artifactType"] == "application/vnd.cyclonedx+json"
    assert found["subject"] == {"digest": subject.digest, "mediaType": MANIFEST, "size": 10}
    assert found["config"] == {"digest": digest_of(EMPTY), "mediaType": EMPTY_TYPE, "size": 2}
    # the digest that the specification gives for it
    assert found["config"]["digest"] == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("debian:bookworm", "debian@D"),
        ("localhost:5000/team/run", "localhost:5000/team/run@D"),
        ("localhost:5000/team/run:1", "localhost:5000/team/run@D"),
        ("ghcr.io/a/b@sha256:old", "ghcr.io/a/b@D"),
    ],
)
def test_a_reference_is_pinned_to_a_digest(reference: str, expected: str) -> None:
    assert pinned(reference, "D") == expected
