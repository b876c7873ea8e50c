"""A stack of an image that lies in a real registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from buildpacks.image.contents import base_outbound
from buildpacks.stack.store import StackStore
from gitserver.cli.exits import Exit
from gitserver.cli.main import run
from tests.contract.registry_house import plain, push
from tests.services.registry import RealRegistry
from tests.services.stacks import install_stack


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RealRegistry]:
    real = RealRegistry(home=tmp_path / "registry")
    real.start()
    yield real
    real.stop()


def test_an_image_of_a_registry_becomes_a_stack(
    registry: RealRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = install_stack(tmp_path / "ours")
    stacks = StackStore(root=tmp_path / "ours/stacks")
    image = base_outbound(ours.run, stacks, tmp_path / "ours")
    push(image, plain(registry.name), tmp_path / "blobs", repository="team/base", tags=["v1"])
    reference = f"{registry.name}/team/base:v1"
    state = tmp_path / "theirs"
    assert run(["stack", "add", "base", "--run", reference, "--plain-http", "--state", str(state)]) == Exit.DONE
    told = capsys.readouterr()
    assert told.out.splitlines()[-1] == "New builds lie on it."
    stack = StackStore(root=state / "stacks").current()
    assert stack is not None
    assert (stack.name, stack.build, stack.pythons, stack.libc) == ("base", None, ours.pythons, ours.libc)
    assert (stack.run.reference, stack.run.image_id) == (reference, ours.run.image_id)


def test_a_registry_without_tls_is_not_spoken_to_unasked(
    registry: RealRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state"
    reference = f"{registry.name}/team/base:v1"
    assert run(["stack", "add", "base", "--run", reference, "--state", str(state)]) == Exit.FAILED
    assert f"{registry.name}" in capsys.readouterr().err
    assert StackStore(root=state / "stacks").names() == ()
