"""The docker target over an engine of memory: what it refuses, and that nothing of a refused start stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from buildpacks.image.values import OutboundImage
from buildpacks.order import BuildFailed
from gitserver.errors import Problem
from gitserver.push import AppName
from gitserver.settings import Settings, read_settings
from gitserver.targets.contract import Spec
from gitserver.targets.docker import DockerTarget
from gitserver.targets.docker_plan import Document
from tests.services.fake_engine import FakeEngine

NO_SUCH_PID = 2**22 + 1  # above what any kernel gives out


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings({"state": str(tmp_path), "owner": "alice"}, {})


@pytest.fixture
def target(settings: Settings, engine: FakeEngine) -> Iterator[DockerTarget]:
    made = DockerTarget(settings, engine, make_outbound, command)
    yield made
    made.close()


def make_outbound(doc: Document) -> OutboundImage:
    if doc["base"] == "host":
        raise BuildFailed("no-stack", detail="built for this machine")
    return OutboundImage(image_id="sha256:1", config=b'{"architecture": "amd64"}', layers=(), annotations={})


def command(_doc: Document, _process: Document, env: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    return ["python"], dict(env)


def make_spec(base: str = "algo/bookworm-run") -> Spec:
    return Spec(
        instance="b1", app_id=3, app_name=AppName(owner="alice", app="iris"), label="main 4f2c9e1",
        image_digest="sha256:1", image={"base": base, "processes": [{"type": "web", "command": ["python"]}]}, env={},
        memory_mib=512, ready_timeout_s=1,
    )  # fmt: skip


def refusal(target: DockerTarget, settings: Settings, engine: FakeEngine, spec: Spec) -> Problem:
    with pytest.raises(Problem) as caught:
        target.start(spec, lambda _line: None)
    assert target.instances() == ()
    assert engine.boxes == {}
    assert engine.networks == {}
    assert list((settings.run_dir / "instances").iterdir()) == []
    return caught.value


def test_an_engine_whose_processes_cannot_be_seen_is_no_engine_for_us(
    target: DockerTarget, settings: Settings, engine: FakeEngine
) -> None:
    engine.next_pid = NO_SUCH_PID
    failure = refusal(target, settings, engine, make_spec()).failure
    assert (failure.code, failure.fields) == ("engine-elsewhere", {"pid": NO_SUCH_PID})


def test_an_image_that_cannot_be_sent_is_told_in_the_kitchens_words(
    target: DockerTarget, settings: Settings, engine: FakeEngine
) -> None:
    failure = refusal(target, settings, engine, make_spec("host")).failure
    assert (failure.code, failure.fields) == ("no-stack", {"detail": "built for this machine"})


def test_a_worker_starts_without_its_engine(settings: Settings, engine: FakeEngine) -> None:
    engine.is_down = True
    target = DockerTarget(settings, engine, make_outbound, command)
    try:
        assert target.instances() == ()
        with pytest.raises(Problem, match="engine-down"):
            target.start(make_spec(), lambda _line: None)
    finally:
        target.close()
