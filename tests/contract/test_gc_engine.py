"""Collections beside a real engine that belongs to others too: only what this server's ledger names is taken away."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from gitserver.gc.collection import Kind, Report
from gitserver.gc.collector import Collector
from gitserver.ledger.records import BuildKind, BuildState, EnvKind, NewBuild
from gitserver.ledger.store import Ledger
from gitserver.push import AppName
from gitserver.settings import Settings, read_settings
from gitserver.targets.engine import DockerEngine
from tests.services.corridor import FakeTarget
from tests.services.engines import TestEngine, containerd_engine, graphdriver_engine
from tests.services.handmade import image, layer, tar_of

MARK = f"algo-test-gc-{secrets.token_hex(3)}"


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A server's ledger beside an engine. ours: an image that nothing needs any more; kept: one that serves."""

    settings: Settings
    ledger: Ledger
    engine: TestEngine
    door: DockerEngine
    ours: str
    kept: str

    def collect(self, *, dry_run: bool = False) -> Report:
        one = Collector(self.settings, self.ledger, FakeTarget(), self.door, lambda: None)
        return one.collect(dry_run=dry_run, lease=timedelta(0))

    def has(self, name: str) -> bool:
        return bool(self.engine.docker("images", "-q", name))


@pytest.fixture(params=[graphdriver_engine, containerd_engine], ids=["graphdriver", "containerd"])
def beside(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Beside]:
    engine: TestEngine = request.param()
    settings = read_settings({"state": str(tmp_path), "owner": "alice"}, {})
    ledger = Ledger.open(settings.ledger_url)
    ledger.add_principal("alice")
    app = ledger.create_app(AppName(owner="alice", app="iris"))
    door = DockerEngine(engine.host)
    names = []
    for number in (1, 2):
        made = image([layer("app", {"workspace/a": f"{MARK} {number}".encode()})])
        name = f"algo/{MARK}:{made.image_id[7:19]}"
        door.ensure(made, name, lambda _line: None)
        ledger.add_image(made.image_id, app.id, str(number) * 40, {"layers": []})
        names.append((name, made.image_id))
    environment = ledger.environment(app.id, EnvKind.PRODUCTION, "main", create=True)
    assert environment is not None
    order = NewBuild(
        app_id=app.id, env_kind=EnvKind.PRODUCTION, branch="main", kind=BuildKind.DEPLOY, git_ref="refs/heads/main",
        old="0" * 40, new="2" * 40, commit="2" * 40, actor="alice",
    )  # fmt: skip
    (build,) = ledger.enqueue([order])
    ledger.add_release(
        environment_id=environment.id, image_digest=names[1][1], commit="2" * 40, version_tag=None, config_version=0,
        config={}, actor="alice", why="deploy", build_id=build.id, facts={},
    )  # fmt: skip
    ledger.finish(build.id, BuildState.SUCCEEDED)
    yield Beside(settings=settings, ledger=ledger, engine=engine, door=door, ours=names[0][0], kept=names[1][0])
    for found in engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines():
        if MARK in found:
            engine.docker("rmi", "-f", found)
    door.close()
    ledger.close()


def imported(beside: Beside) -> str:
    """An image that has nothing to do with us."""
    name = f"{MARK}-theirs:1"
    beside.engine.docker("import", "-", name, stdin=tar_of({"file": MARK.encode()}))
    return name


def of_another_server(beside: Beside) -> str:
    """An image with our label that another server on this engine made."""
    made = image([layer("theirs", {"file": f"{MARK} another".encode()})])
    name = f"algo/{MARK}-bob:{made.image_id[7:19]}"
    beside.door.ensure(made, name, lambda _line: None)
    return name


def test_sec_56_images_and_containers_of_others_survive_a_collection(beside: Beside) -> None:
    theirs, bobs = imported(beside), of_another_server(beside)
    container = beside.engine.docker("create", "--name", f"{MARK}-box", theirs, "true")
    try:
        report = beside.collect()
        assert [(found.kind, found.name) for found in report.gone] == [(Kind.ENGINE_IMAGE, beside.ours)]
        assert (beside.has(beside.ours), beside.has(beside.kept)) == (False, True)
        assert (beside.has(theirs), beside.has(bobs)) == (True, True)
        assert container in beside.engine.docker("ps", "-aq", "--no-trunc")
    finally:
        beside.engine.docker("rm", "-f", container)


def test_a_dry_run_names_the_image_and_leaves_it(beside: Beside) -> None:
    report = beside.collect(dry_run=True)
    assert [found.name for found in report.gone] == [beside.ours]
    assert report.engine_bytes > 0
    assert beside.has(beside.ours)


def test_a_name_that_somebody_gave_our_image_stays_with_what_it_names(beside: Beside) -> None:
    beside.engine.docker("tag", beside.ours, f"{MARK}-mine:1")
    beside.collect()
    assert (beside.has(beside.ours), beside.has(f"{MARK}-mine:1")) == (False, True)


def test_an_image_that_a_container_uses_stays_and_the_report_says_so(beside: Beside) -> None:
    container = beside.engine.docker("create", "--name", f"{MARK}-box", beside.ours, "true")
    try:
        report = beside.collect()
        if beside.has(beside.ours):
            assert [line for line in report.kept if beside.ours in line]
        assert container in beside.engine.docker("ps", "-aq", "--no-trunc")
    finally:
        beside.engine.docker("rm", "-f", container)


def test_an_engine_that_is_down_keeps_its_images_and_the_rest_goes_on(beside: Beside, tmp_path: Path) -> None:
    draft = tmp_path / "layers" / "drafts" / "old"
    draft.mkdir(parents=True)
    nobody = DockerEngine(f"unix://{tmp_path}/nobody.sock", timeout_s=2)
    one = Collector(beside.settings, beside.ledger, FakeTarget(), nobody, lambda: None)
    report = one.collect(dry_run=False, lease=timedelta(0))
    assert [found.kind for found in report.gone] == [Kind.DRAFT]
    (said,) = report.kept
    assert said.startswith("images in the engine: ")
    assert beside.has(beside.ours)
