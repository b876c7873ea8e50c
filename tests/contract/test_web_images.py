"""The image routes over a real stack, a real layer store and a real engine."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from buildpacks.ground import stack_document
from buildpacks.image.document import parse_layers
from buildpacks.image.oci import image_id
from buildpacks.image.store import LayerStore
from buildpacks.image.variants import variant_document
from buildpacks.order import BuildFailed, Json
from buildpacks.stack.store import StackStore
from buildpacks.stack.values import Stack
from gitserver.images import rebased
from gitserver.ledger.records import App, BuildKind, Image
from tests.services.documents import OneBase, Shelf
from tests.services.engines import TestEngine, graphdriver_engine
from tests.services.second_stack import add_second_stack
from tests.services.stacks import install_stack
from tests.services.two_images import with_gpu
from tests.web_house import COMMIT_1, House


@dataclass(frozen=True, kw_only=True)
class Owner:
    """alice with an app whose production lies on the real stack."""

    house: House
    app: App
    shelf: Shelf
    stack: Stack
    digest: str

    @property
    def path(self) -> str:
        """The app in the API."""
        return f"/api/v1/apps/{self.app.name}"

    @property
    def tag(self) -> str:
        """The app's images in an engine, without the part behind the colon."""
        return f"algo/{self.app.name.owner}-{self.app.name.app}"

    def layer(self, number: int) -> Path:
        """Where a layer of the image lies."""
        image = self.house.ledger.image(self.digest)
        assert image is not None
        return self.shelf.layers.layer_path(parse_layers(image.config)[number].diff_id)

    def get(self, path: str, status: int = 200) -> Any:
        return self._ask("GET", path, status, None)

    def post(self, path: str, status: int = 202, **body: Json) -> Any:
        return self._ask("POST", path, status, body)

    def archive(self, ref: str, query: str = "") -> bytes:
        answer = self.house.ask("GET", f"{self.path}/images/{ref}/archive{query}", token=self.house.alices)
        assert answer.status_code == 200, answer.data
        assert answer.mimetype == "application/x-tar"
        assert int(answer.headers["Content-Length"]) == len(answer.data)
        return bytes(answer.data)

    def _ask(self, method: str, path: str, status: int, body: dict[str, Json] | None) -> Any:
        answer = self.house.ask(method, path, token=self.house.alices, body=body)
        assert answer.status_code == status, answer.data
        return json.loads(answer.data)


@dataclass
class Place:
    """One server for all tests, with the real stack; each test has an app of its own there."""

    house: House
    shelf: Shelf
    stack: Stack
    apps: int = 0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with House(tmp_path_factory.mktemp("place") / "state") as house:
        state = house.settings.state
        stack = install_stack(state)
        base = OneBase(base=stack.run, folder=state / "stacks" / "blobs" / "sha256")
        yield Place(house=house, shelf=Shelf(layers=LayerStore(root=state), stacks=base), stack=stack)


@pytest.fixture
def owner(place: Place) -> Owner:
    place.apps += 1
    house, stack, python = place.house, place.stack, place.stack.pythons[0]
    doc = place.shelf.document(
        f"print('app {place.apps} runs')\n".encode(), stack=stack_document(stack),
        python={"version": python.version, "path": python.path},
        launch={"argv": [python.path, "-u", "predict.py"], "env": {"ALGO_SERVE": "{}"}, "cwd": "/workspace"},
    )  # fmt: skip
    app = house.app(f"alice/iris-{place.apps}")
    digest = image_id(doc)
    house.ledger.add_image(digest, app.id, COMMIT_1, doc)
    house.serve(app, digest=digest)
    house.ledger.add_version(
        app.id, tag="v1", object_oid=COMMIT_1, commit=COMMIT_1, image_digest=digest, config_version=0, actor="alice"
    )
    return Owner(house=house, app=app, shelf=place.shelf, stack=stack, digest=digest)


@pytest.fixture
def engine(owner: Owner) -> Iterator[TestEngine]:
    made = graphdriver_engine()
    yield made
    for tag in made.docker("images", "--format", "{{.Repository}}:{{.Tag}}", owner.tag).split():
        made.docker("rmi", "-f", tag)


@pytest.mark.conformance("1.7-report")
def test_an_image_is_found_by_all_of_its_names(owner: Owner) -> None:
    for ref in ("production", "1", "v1", COMMIT_1[:7], COMMIT_1, owner.digest, owner.digest[:19]):
        assert owner.get(f"{owner.path}/images/{ref}")["digest"] == owner.digest
    (listed,) = owner.get(f"{owner.path}/images")["images"]
    assert (listed["digest"], listed["stack"], listed["used_by"]) == (owner.digest, "bookworm", ["production", "v1"])


@pytest.mark.parametrize("ref", ["v2", "2", "0000000", "sha256:" + "0" * 64, "main", "..", "%2e%2e", "a/b/c"])
def test_a_name_that_means_no_image_is_told_with_what_there_is(owner: Owner, ref: str) -> None:
    told = owner.get(f"{owner.path}/images/{ref}", status=404)
    if told["code"] == "no-such-image":
        assert COMMIT_1[:7] in told["error"]
    else:  # a client that tidies '..' away asks for another page
        assert told["code"] == "no-such-page"


@pytest.mark.conformance("1.7-report")
def test_an_image_says_what_it_is_made_of(owner: Owner) -> None:
    shown = owner.get(f"{owner.path}/images/v1")
    assert [layer["title"] for layer in shown["layers"]] == [
        "layers/algo_python/deps", "model/iris.joblib", "application",
    ]  # fmt: skip
    assert shown["base"]["image_id"] == owner.stack.run.image_id
    assert shown["name"] == f"{owner.tag}:{owner.digest[7:19]}"


def test_the_bill_of_materials_names_debian_and_python_packages(owner: Owner) -> None:
    bill = owner.get(f"{owner.path}/images/v1/sbom")
    purls = [component.get("purl", "") for component in bill["components"]]
    assert any(purl.startswith("pkg:deb/debian/") for purl in purls)
    assert any(purl.startswith("pkg:pypi/joblib@1.4.2") for purl in purls)


def test_a_saved_image_is_loaded_by_an_engine_and_runs(owner: Owner, engine: TestEngine) -> None:
    said = engine.docker("load", stdin=owner.archive("v1"))
    name = f"{owner.tag}:{owner.digest[7:19]}"
    assert sorted(said.splitlines()) == [f"Loaded image: {name}", f"Loaded image: {owner.tag}:v1"]
    assert engine.docker("inspect", "--format", "{{.Id}}", name) == owner.digest
    assert engine.docker("run", "--rm", "--network", "none", f"{owner.tag}:v1") == f"app {owner.app.name.app[5:]} runs"


def test_a_second_image_is_shown_and_saved_under_its_own_digest(owner: Owner, engine: TestEngine) -> None:
    image = owner.house.ledger.image(owner.digest)
    assert image is not None
    doc = with_gpu(owner.shelf, dict(image.config))
    digest, gpu, path = image_id(doc), image_id(variant_document(doc, "gpu")), f"{owner.path}/images/{'d' * 40}"
    owner.house.ledger.add_image(digest, owner.app.id, "d" * 40, doc)
    shown = owner.get(path)
    (variant,) = shown["variants"]
    assert (shown["digest"], variant["variant"], variant["digest"]) == (digest, "gpu", gpu)
    assert variant["size_bytes"] == shown["size_bytes"] - len(b"VALUE = 1\n") * 1000 + len(b"VALUE = 2\n") * 2000
    assert variant["more_bytes"] == len(b"VALUE = 2\n") * 2000
    its_own = owner.get(f"{path}?variant=gpu")
    assert (its_own["digest"], its_own["variants"]) == (gpu, shown["variants"])
    components = owner.get(f"{path}/sbom?variant=gpu")["components"]
    assert "pkg:pypi/nvidia-cublas@13.1" in {component.get("purl") for component in components}
    engine.docker("load", stdin=owner.archive("d" * 40, "?variant=gpu"))
    assert engine.docker("inspect", "--format", "{{.Id}}", variant["name"]) == gpu


def test_a_variant_that_is_not_there_is_told(owner: Owner) -> None:
    told = owner.get(f"{owner.path}/images/v1?variant=gpu", status=422)
    assert told["code"] == "no-such-variant"
    assert "its variants: none" in told["error"]
    owner.get(f"{owner.path}/images/v1?variant=npu", status=400)


def test_the_same_image_is_the_same_file(owner: Owner) -> None:
    assert hashlib.sha256(owner.archive("v1")).digest() == hashlib.sha256(owner.archive("production")).digest()


def test_an_image_whose_layer_is_gone_is_refused_before_the_first_byte(owner: Owner) -> None:
    shutil.rmtree(owner.layer(2))
    assert owner.get(f"{owner.path}/images/v1/archive", status=422)["code"] == "layer-lost-in-store"


def test_an_image_whose_layer_was_changed_breaks_off_and_is_never_whole(owner: Owner) -> None:
    file = owner.layer(2) / "predict.py"
    file.chmod(0o644)
    file.write_bytes(file.read_bytes().upper())
    headers = {"Authorization": f"Bearer {owner.house.alices}"}
    with owner.house.wsgi.test_client() as client, pytest.raises(BuildFailed, match="layer-damaged"):
        client.get(f"{owner.path}/images/v1/archive", headers=headers, buffered=True)


def test_the_archive_names_nobody_elses_images(owner: Owner) -> None:
    with tarfile.open(fileobj=io.BytesIO(owner.archive("v1"))) as archive:
        names = {name.split("/")[0] for name in archive.getnames()}
    assert names == {"blobs", "index.json", "manifest.json", "oci-layout"}


def test_a_verification_is_a_job_of_its_own_with_the_configuration_of_then(owner: Owner) -> None:
    build = owner.post(f"{owner.path}/images/v1/verify")
    assert (build["kind"], build["commit"]) == ("verify", COMMIT_1)
    job = owner.house.ledger.build(build["id"])
    assert job is not None
    assert dict(job.options) == {"image": owner.digest, "config": "0"}


def test_an_image_of_this_machine_alone_is_not_saved(owner: Owner) -> None:
    doc: dict[str, Json] = {"base": "host", "stack": None, "layers": []}
    owner.house.ledger.add_image("sha256:" + "e" * 64, owner.app.id, "e" * 40, doc)
    assert owner.get(f"{owner.path}/images/{'e' * 40}/archive", status=422)["code"] == "no-stack"
    assert owner.get(f"{owner.path}/images/{'e' * 40}")["stack"] == "host"


# -- another stack


def second_stack(owner: Owner, **changes: Any) -> Stack:
    return add_second_stack(StackStore(root=owner.house.settings.state / "stacks"), "bookworm-2", **changes)


def test_a_rebased_image_has_a_digest_of_its_own_and_runs(owner: Owner, engine: TestEngine) -> None:
    image = owner.house.ledger.image(owner.digest)
    assert image is not None
    second_stack(owner)
    moved: Image = rebased(image, StackStore(root=owner.house.settings.state / "stacks"), "bookworm-2")
    assert moved.digest != owner.digest
    owner.house.ledger.add_image(moved.digest, owner.app.id, COMMIT_1, moved.config)
    engine.docker("load", stdin=owner.archive("v1"))
    engine.docker("load", stdin=owner.archive(moved.digest))
    name = f"{owner.tag}:{moved.digest[7:19]}"
    assert engine.docker("inspect", "--format", "{{.Id}}", name) == moved.digest
    assert engine.docker("run", "--rm", "--network", "none", name) == f"app {owner.app.name.app[5:]} runs"
    engine.docker("rmi", "-f", name)


def test_every_environment_that_serves_gets_a_job_and_says_where_it_is(owner: Owner) -> None:
    second_stack(owner)
    begun = owner.post(f"{owner.path}/stack", stack="bookworm-2")
    (move,) = begun["moves"]
    assert (move["app"], move["environment"], move["state"], move["stack"]) == (
        str(owner.app.name), "production", "queued", "bookworm-2",
    )  # fmt: skip
    assert begun["since"] == move["build"]
    assert owner.get(f"{owner.path}/stack?since={begun['since']}")["moves"] == [move]
    assert owner.get(f"{owner.path}/stack?since={begun['since'] + 1}")["moves"] == []
    build = owner.house.ledger.build(move["build"])
    assert build is not None
    assert (build.kind, dict(build.options)) == (BuildKind.REBASE, {"stack": "bookworm-2"})


def test_the_servers_owner_moves_every_app(owner: Owner) -> None:
    second_stack(owner)
    begun = owner.post("/api/v1/stacks/upgrade", stack="bookworm-2")
    queued = [move for move in begun["moves"] if move["state"] == "queued"]
    assert str(owner.app.name) in {move["app"] for move in queued}
    assert owner.get(f"/api/v1/stacks/upgrade?since={begun['since']}")["moves"] == queued


def test_what_is_there_already_needs_no_job(owner: Owner) -> None:
    (move,) = owner.post(f"{owner.path}/stack")["moves"]
    assert (move["state"], move["build"], move["stack"]) == ("there", None, "bookworm")


def test_what_does_not_fit_gets_no_job_and_says_why(owner: Owner) -> None:
    second_stack(owner, pythons=())
    (move,) = owner.post(f"{owner.path}/stack", stack="bookworm-2")["moves"]
    assert (move["state"], move["build"]) == ("refused", None)
    assert "made for Python 3." in move["reason"]
    assert move["next"].startswith("git push algo main:redeploy")


def test_a_stack_that_is_not_here_is_told_with_those_that_are(owner: Owner) -> None:
    known = StackStore(root=owner.house.settings.state / "stacks").names()
    told = owner.post(f"{owner.path}/stack", status=409, stack="trixie")
    assert (told["code"], told["fields"]) == ("no-stack-here", {"found": "trixie", "known": ", ".join(known)})
