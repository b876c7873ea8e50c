"""Built images in the operator's registry: where they lie, under which tags, and that a real engine takes them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from buildpacks.image import provenance, sbom
from buildpacks.image.config import render_config
from buildpacks.image.document import table, table_list
from buildpacks.image.oci import image_config, image_id, image_manifest
from buildpacks.image.repository import Repository
from buildpacks.image.traffic import Traffic
from buildpacks.image.values import CONFIG, MANIFEST
from buildpacks.image.variants import variant_document
from buildpacks.order import BuildFailed, Json
from buildpacks.stack.store import StackStore
from gitserver.buildlog import BuildLog
from gitserver.errors import Problem
from gitserver.job import Job
from gitserver.ledger.records import App, Build, BuildKind, BuildState, EnvKind, Image
from gitserver.publish import Publisher, RegistrySettings, settings_from
from gitserver.push import AppName
from tests.contract.registry_house import plain
from tests.services.documents import OneBase, Shelf, make_shelf
from tests.services.engines import graphdriver_engine
from tests.services.registry import RealRegistry, running
from tests.services.two_images import with_gpu

NOW = datetime(2026, 1, 2, tzinfo=UTC)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    with running(RealRegistry(home=tmp_path_factory.mktemp("registry"))) as registry:
        yield registry


@dataclass(frozen=True, kw_only=True)
class Server:
    """What a server has when an image was built."""

    state: Path
    shelf: Shelf
    log_path: Path

    def image(self, code: bytes = b"print()\n") -> Image:
        doc = self.shelf.document(code)
        return Image(digest=image_id(doc), app_id=1, commit=COMMIT, config=doc, created_at=NOW)

    def job(self, git_ref: str = "refs/heads/main") -> Job:
        build = Build(
            id=7, app_id=1, env_kind=EnvKind.PRODUCTION, branch="main", kind=BuildKind.DEPLOY, git_ref=git_ref, old="",
            new=COMMIT, commit=COMMIT, actor="alice", group=None, quarantine=None, options={},
            state=BuildState.RUNNING, created_at=NOW, started_at=NOW, ended_at=None, image_digest=None, release_id=None,
            failure=None, superseded_by=None, cancelled_by=None,
        )  # fmt: skip
        app = App(id=1, name=AppName(owner="alice", app="iris"), is_public=False, created_at=NOW)
        return Job(build=build, app=app, log=BuildLog(self.log_path), cancelled=threading.Event())


@pytest.fixture
def server(tmp_path: Path) -> Server:
    shelf = make_shelf(tmp_path)
    stacks = StackStore(root=shelf.layers.root / "stacks")
    layer = shelf.stacks.base.layers[0]
    stacks.put_blob([shelf.stacks.blob_path(layer.blob.digest).read_bytes()], media_type=layer.blob.media_type)
    config = render_config({**shelf.stacks.base.config, "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]}})
    manifest = image_manifest(config, [layer.blob], {})
    base = replace(
        shelf.stacks.base,
        image_id=stacks.put_blob([config], media_type=CONFIG).digest,
        manifest_digest=stacks.put_blob([manifest], media_type=MANIFEST).digest,
    )
    stacks.add_image(base)
    shelf = Shelf(layers=shelf.layers, stacks=OneBase(base=base, folder=shelf.stacks.folder))
    return Server(state=shelf.layers.root, shelf=shelf, log_path=tmp_path / "build.log")


def publish(server: Server, place: str, job: Job, image: Image) -> str:
    """Publish it; what the log says."""
    publisher = Publisher(RegistrySettings(place=place, plain_http=True), server.state)
    try:
        publisher.publish(job, image)
    finally:
        publisher.close()
        job.log.close()
    return server.log_path.read_text(encoding="utf-8")


def look(house: RealRegistry, repository: str, name: str) -> tuple[str, dict[str, Json]]:
    """Digest and document of a manifest."""
    client = plain(house.name)
    found = Repository(client, repository, Traffic(), is_pull=True).manifest(name)
    client.close()
    assert found is not None, f"{repository}:{name} is not there"
    return found.digest, json.loads(found.data)


@pytest.mark.conformance("1.7-report")
def test_an_image_lies_under_owner_and_app_with_its_commit_as_tag(house: RealRegistry, server: Server) -> None:
    image = server.image()
    told = publish(server, f"{house.name}/models", server.job(), image)
    _, manifest = look(house, "models/alice/iris", COMMIT[:12])
    config = manifest["config"]
    assert isinstance(config, dict)
    assert config["digest"] == image.digest
    assert f"-----> Pushed: {house.name}/models/alice/iris:{COMMIT[:12]} in " in told


def test_a_version_is_a_tag_too_and_one_that_no_registry_takes_is_said(house: RealRegistry, server: Server) -> None:
    publish(server, f"{house.name}/versions", server.job("refs/tags/v1.2"), server.image())
    assert look(house, "versions/alice/iris", "v1.2") == look(house, "versions/alice/iris", COMMIT[:12])
    told = publish(server, f"{house.name}/versions", server.job("refs/tags/v1+build"), server.image())
    assert f"The image has the tag {COMMIT[:12]} alone: registries take no tag v1+build" in told


def test_a_second_image_of_the_release_has_the_same_tags_with_its_name_and_sends_one_layer(
    house: RealRegistry, server: Server
) -> None:
    doc = with_gpu(server.shelf, server.shelf.document())
    image = Image(digest=image_id(doc), app_id=1, commit=COMMIT, config=doc, created_at=NOW)
    told = publish(server, f"{house.name}/two", server.job("refs/tags/v1.2"), image)
    manifests = {tag: look(house, "two/alice/iris", tag)[1] for tag in ("v1.2", "v1.2-gpu", f"{COMMIT[:12]}-gpu")}
    assert manifests["v1.2-gpu"] == manifests[f"{COMMIT[:12]}-gpu"]
    configs = {tag: table(found["config"])["digest"] for tag, found in manifests.items()}
    assert configs["v1.2"] == image.digest
    assert configs["v1.2-gpu"] == image_id(variant_document(doc, "gpu"))
    first, second = (
        [layer["digest"] for layer in table_list(manifests[tag]["layers"])] for tag in ("v1.2", "v1.2-gpu")
    )
    assert [one == other for one, other in zip(first, second, strict=True)].count(False) == 1
    (line,) = (line for line in told.splitlines() if f"{house.name}/two/alice/iris:v1.2-gpu in " in line)
    assert " 1 layers sent (" in line
    assert line.endswith(f" {len(first) - 1} were there")


def test_the_bill_of_materials_and_the_provenance_are_found_from_the_image(house: RealRegistry, server: Server) -> None:
    image = server.image()
    publish(server, f"{house.name}/papers", server.job(), image)
    digest, _ = look(house, "papers/alice/iris", COMMIT[:12])
    _, index = look(house, "papers/alice/iris", digest.replace(":", "-"))
    entries = index["manifests"]
    assert isinstance(entries, list)
    kinds = [entry["artifactType"] for entry in entries if isinstance(entry, dict)]
    assert kinds == [sbom.MEDIA_TYPE, provenance.MEDIA_TYPE]


def test_a_real_engine_pulls_the_image_and_calls_it_by_our_digest(house: RealRegistry, server: Server) -> None:
    image = server.image(b"print('pulled')\n")
    publish(server, f"{house.name}/pulled", server.job(), image)
    engine, name = graphdriver_engine(), f"{house.name}/pulled/alice/iris:{COMMIT[:12]}"
    try:
        engine.docker("pull", "--quiet", name)
        assert engine.docker("image", "inspect", "--format", "{{.Id}}", name).strip() == image.digest
    finally:
        engine.docker("image", "rm", "--force", name)
    assert image.digest == image_id(json.loads(json.dumps(image.config)))
    assert b"pulled" not in image_config(image.config)


def test_an_image_without_a_stack_and_one_of_a_dockerfile_are_told_apart(house: RealRegistry, server: Server) -> None:
    image = server.image()
    bare = replace(image, config={**image.config, "base": "host", "stack": None})
    with pytest.raises(BuildFailed, match="no-stack"):
        publish(server, f"{house.name}/bare", server.job(), bare)
    of_dockerfile = replace(image, config={"base": "dockerfile", "engine_image": image.digest, "layers": []})
    told = publish(server, f"{house.name}/bare", server.job(), of_dockerfile)
    assert "an image of a Dockerfile stays in the container engine" in told


def test_a_login_that_an_operator_renewed_is_taken_without_a_restart(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "docker"
    folder.mkdir()

    def log_in(password: str) -> None:
        entry = {"username": "alice", "password": password}
        (folder / "config.json").write_text(json.dumps({"auths": {registry.name: entry}}))

    with running(RealRegistry(home=tmp_path / "registry", users={"alice": "old"})) as registry:
        settings = RegistrySettings(place=f"{registry.name}/models", plain_http=True, docker_config=folder)
        publisher, job = Publisher(settings, server.state), server.job()
        log_in("old")
        publisher.publish(job, server.image())
        registry.stop()
        registry.users = {"alice": "new"}
        registry.start()
        with pytest.raises(BuildFailed, match="registry-login-wrong"):
            publisher.publish(job, server.image(b"2"))
        log_in("new")
        publisher.publish(job, server.image(b"2"))
        publisher.close()
        job.log.close()


@pytest.mark.parametrize("place", ["models", "https://h.example/models", "h.example/Models", "h.example/m:v1"])
def test_a_setting_that_is_no_place_is_refused_at_the_start(tmp_path: Path, place: str) -> None:
    with pytest.raises(Problem) as refused:
        Publisher(RegistrySettings(place=place), tmp_path)
    assert (refused.value.failure.code, refused.value.failure.fields["found"]) == ("registry-setting-bad", place)


def test_certificates_and_proxies_are_those_of_the_server() -> None:
    found = settings_from(
        registry="h.example/models", plain_http=False, docker_config="",
        environment={"SSL_CERT_FILE": "/ca.pem", "https_proxy": "http://proxy.example:3128", "NO_PROXY": ".example"},
    )  # fmt: skip
    assert (found.ca_bundle, found.docker_config) == ("/ca.pem", None)
    assert found.proxies == {"https": "http://proxy.example:3128", "no": ".example"}
