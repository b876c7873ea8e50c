"""Registries with a token server: one token for a push and all that it mounts, a new one when it ends."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildpacks.image.registry import Registry, RegistryOptions
from buildpacks.image.values import ImageLayer
from buildpacks.order import BuildFailed
from tests.contract.registry_house import image_of, layer_of, noise, plain, push, tar_of
from tests.services.registry import Between, RealRegistry, Request, answer_of, make_certificate, running
from tests.services.token_server import TokenServer

BOTH = {"pull", "push"}


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenServer]:
    rights = {
        "alice": {"team/one": BOTH, "team/two": BOTH},
        "reader": {"team/one": {"pull"}},
        "narrow": {"team/two": BOTH},
    }
    with TokenServer(make_certificate(tmp_path), rights) as server:
        yield server


@pytest.fixture
def house(tokens: TokenServer, tmp_path: Path) -> Iterator[RealRegistry]:
    certificate = tmp_path / "registry.crt"
    home = tmp_path / "registry"
    with running(RealRegistry(home=home, token_realm=tokens.realm, token_certificate=certificate)) as registry:
        yield registry


def client(registry: RealRegistry, folder: Path, **entry: str) -> Registry:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"auths": {registry.name: entry}}))
    return plain(registry.name, docker_config=folder)


def login(user: str, password: str = "") -> str:
    return base64.b64encode(f"{user}:{password or f'pw-{user}'}".encode()).decode()


def weights(seed: str = "w") -> ImageLayer:
    return layer_of(tar_of(model=noise(1_500_000, seed)), kind="slice", title="model/net.safetensors")


def test_one_token_serves_a_whole_push_and_the_next_one(
    house: RealRegistry, tokens: TokenServer, tmp_path: Path
) -> None:
    alice = client(house, tmp_path / "docker", auth=login("alice"))
    push(image_of(weights(), *(layer_of(tar_of(a=noise(9000, str(n)))) for n in range(5))), alice, tmp_path / "b",
         repository="team/one")  # fmt: skip
    push(image_of(weights(), layer_of(tar_of(a=b"next"))), alice, tmp_path / "b", repository="team/one")
    assert tokens.asked == [["repository:team/one:pull,push"]]


def test_a_mount_has_a_token_that_may_read_its_source(house: RealRegistry, tokens: TokenServer, tmp_path: Path) -> None:
    alice = client(house, tmp_path / "docker", auth=login("alice"))
    push(image_of(weights()), alice, tmp_path / "b", repository="team/one")
    pushed = push(image_of(weights()), alice, tmp_path / "b", repository="team/two")
    assert pushed.layers_mounted == 1
    assert tokens.asked[-1] == ["repository:team/two:pull,push", "repository:team/one:pull"]


def test_a_user_who_may_not_read_the_source_of_a_mount_sends_the_layer(
    house: RealRegistry, tokens: TokenServer, tmp_path: Path
) -> None:
    alice = client(house, tmp_path / "alice", auth=login("alice"))
    push(image_of(weights()), alice, tmp_path / "b", repository="team/one")
    narrow = client(house, tmp_path / "narrow", auth=login("narrow"))
    pushed = push(image_of(weights()), narrow, tmp_path / "b", repository="team/two")
    assert (pushed.layers_mounted, pushed.layers_sent) == (0, 1)


def test_a_token_that_ended_is_replaced_within_the_push(
    house: RealRegistry, tokens: TokenServer, tmp_path: Path
) -> None:
    tokens.life_s = 1  # docker-registry itself forgives a minute, so Between says no in its place
    refused = [0]

    def rule(request: Request) -> bytes | None:
        if request.method == "PUT" and "/uploads/" in request.path and refused[0] < 1:
            refused[0] += 1
            challenge = f'Bearer realm="{tokens.realm}",service="tests"'
            return answer_of(401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', Www_Authenticate=challenge)
        return None

    with Between(house.port, rule) as between:
        folder = tmp_path / "docker"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"auths": {between.name: {"auth": login("alice")}}}))
        pushed = push(image_of(weights()), plain(between.name, docker_config=folder), tmp_path / "b",
                      repository="team/one")  # fmt: skip
    assert (pushed.layers_sent, refused) == (1, [1])


def test_a_token_server_that_is_busy_is_asked_again(house: RealRegistry, tokens: TokenServer, tmp_path: Path) -> None:
    tokens.busy = 2
    alice = client(house, tmp_path / "docker", auth=login("alice"))
    assert push(image_of(weights()), alice, tmp_path / "b", repository="team/one").layers_sent == 1


def test_an_identity_token_is_exchanged(house: RealRegistry, tokens: TokenServer, tmp_path: Path) -> None:
    alice = client(house, tmp_path / "docker", auth=login("alice"), identitytoken="refresh-alice")
    assert push(image_of(weights()), alice, tmp_path / "b", repository="team/one").layers_sent == 1


def test_a_wrong_password_at_the_token_server_is_a_wrong_login(house: RealRegistry, tmp_path: Path) -> None:
    wrong = client(house, tmp_path / "docker", auth=login("alice", "s3cret"))
    with pytest.raises(BuildFailed) as failed:
        push(image_of(weights()), wrong, tmp_path / "b", repository="team/one")
    assert failed.value.code == "registry-login-wrong"
    assert "s3cret" not in str(failed.value)


def test_a_user_who_may_only_read_is_refused(house: RealRegistry, tmp_path: Path) -> None:
    reader = client(house, tmp_path / "docker", auth=login("reader"))
    with pytest.raises(BuildFailed) as failed:
        push(image_of(weights()), reader, tmp_path / "b", repository="team/one")
    assert (failed.value.code, failed.value.fields["user"]) == ("registry-login-wrong", "reader")


def test_nobody_is_told_to_log_in(house: RealRegistry, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="registry-login-missing"):
        push(image_of(weights()), plain(house.name), tmp_path / "b", repository="team/one")


def test_sec_a_login_goes_to_no_token_server_without_tls_unless_the_registry_has_none(tmp_path: Path) -> None:
    home = tmp_path / "tls"
    home.mkdir()
    certificate = make_certificate(home)
    with TokenServer(certificate, {"alice": {"team/iris": BOTH}}) as tokens:
        registry = RealRegistry(
            home=home, certificate=certificate, token_realm=tokens.realm, token_certificate=certificate[0]
        )
        with running(registry):
            folder = tmp_path / "docker"
            folder.mkdir()
            (folder / "config.json").write_text(json.dumps({"auths": {registry.name: {"auth": login("alice")}}}))
            options = RegistryOptions(ca_bundle=str(certificate[0]), docker_config=folder)
            with pytest.raises(BuildFailed, match="registry-realm-unsafe"):
                push(image_of(weights()), Registry(registry.name, options), tmp_path / "b")
        assert tokens.asked == []
