"""A server with a registry: every image is there before its release serves, and a registry in trouble moves nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.programs import answer, says
from tests.services.client import Repo
from tests.services.registry import Between, RealRegistry, Request, answer_of, running
from tests.services.server import Server
from tests.services.targets import on_docker

pytestmark = [pytest.mark.e2e, on_docker]

Own = Callable[[Server, str], Repo]
New = Callable[..., Server]
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RealRegistry]:
    """An open registry of the test's own."""
    with running(RealRegistry(home=tmp_path / "registry")) as made:
        yield made


def options(name: str) -> dict[str, str]:
    """What a server is told of it."""
    return {"registry": f"{name}/team", "registry_plain_http": "on"}


def manifest(registry: RealRegistry, repository: str, tag: str) -> dict[str, Any]:
    """An image's manifest, as any client reads it."""
    reply = httpx.get(
        f"http://{registry.name}/v2/{repository}/manifests/{tag}", headers={"Accept": MANIFEST}, trust_env=False
    )
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def repositories(registry: RealRegistry) -> list[str]:
    """Names of all of them."""
    found: list[str] = httpx.get(f"http://{registry.name}/v2/_catalog", trust_env=False).json()["repositories"]
    return found


def test_every_image_is_in_the_registry_under_its_commit_and_its_version(
    registry: RealRegistry, fresh_server: New, own: Own
) -> None:
    server = fresh_server(**options(registry.name))
    repo = own(server, "iris")
    commit = repo.commit({**says("one"), "requirements.txt": "packaging\n"})
    repo.push()
    repo.git("tag", "v1")
    repo.push("v1")
    assert server.answer("iris", {}) == answer("one")
    (name,) = repositories(registry)
    assert name.startswith("team/")
    assert "iris" in name
    by_commit, by_version = manifest(registry, name, commit[:12]), manifest(registry, name, "v1")
    assert by_commit == by_version
    digest = repo.user.algo_list("releases", "--app", "alice/iris")[0]["image_digest"]
    assert by_commit["config"]["digest"] == digest


def test_a_change_of_code_sends_few_requests_and_no_dependency(
    registry: RealRegistry, fresh_server: New, own: Own
) -> None:
    def pass_on(_request: Request) -> None:
        return None

    with Between(registry.port, pass_on) as line:
        server = fresh_server(**options(line.name))
        repo = own(server, "iris")
        repo.commit({**says("one"), "requirements.txt": "packaging\n"})
        repo.push()
        first = len(line.seen)
        repo.commit(says("two"))
        repo.push()
        later = line.seen[first:]
    assert server.answer("iris", {}) == answer("two")
    assert 0 < len(later) <= 24, [f"{request.method} {request.path}" for request in later]
    assert sum(request.size_bytes for request in later) < 512 * 1024


def test_a_registry_that_is_down_refuses_the_push_and_the_old_release_serves(
    registry: RealRegistry, fresh_server: New, own: Own
) -> None:
    server = fresh_server(**options(registry.name))
    repo = own(server, "iris")
    first = repo.commit(says("one"))
    repo.push()
    registry.stop()
    repo.commit(says("two"))
    result = repo.push(check=False)
    assert "registry" in result.verdicts["main"], result.text
    assert result.line_with(registry.name)
    assert repo.remote_refs()["refs/heads/main"] == first
    assert server.answer("iris", {}) == answer("one")
    registry.start()
    repo.push()
    assert server.answer("iris", {}) == answer("two")


def test_a_registry_that_goes_in_the_middle_of_a_push_leaves_no_tag(
    registry: RealRegistry, fresh_server: New, own: Own
) -> None:
    is_down = [False]

    def no_manifest(request: Request) -> bytes | None:
        if is_down[0] and "/manifests/" in request.path:
            return answer_of(503, json.dumps({"errors": [{"code": "UNAVAILABLE", "message": "gone"}]}).encode())
        return None

    with Between(registry.port, no_manifest) as line:
        server = fresh_server(**options(line.name))
        repo = own(server, "iris")
        first = repo.commit(says("one"))
        repo.push()
        is_down[0] = True
        second = repo.commit(says("two"))
        result = repo.push(check=False)
        assert "registry" in result.verdicts["main"], result.text
        assert repo.remote_refs()["refs/heads/main"] == first
        assert server.answer("iris", {}) == answer("one")
        (name,) = repositories(registry)
        tags = httpx.get(f"http://{registry.name}/v2/{name}/tags/list", trust_env=False).json()["tags"]
        assert second[:12] not in tags
        is_down[0] = False
        repo.push()
        assert manifest(registry, name, second[:12])


def test_a_registry_without_tls_is_spoken_to_only_when_that_was_said(
    registry: RealRegistry, fresh_server: New, own: Own
) -> None:
    server = fresh_server(registry=f"{registry.name}/team")
    repo = own(server, "iris")
    repo.commit(says("one"))
    result = repo.push(check=False)
    assert result.line_with("registry-plain-http") or result.line_with("registry_plain_http")
    assert repositories(registry) == []
