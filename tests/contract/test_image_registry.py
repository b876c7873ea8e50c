"""Images into a real registry (docker-registry): what is sent and what is not, logins, and what comes back out."""

from __future__ import annotations

import base64
import json
import ssl
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buildpacks.image.known import KnownBlobs
from buildpacks.image.oci import EMPTY, digest_of
from buildpacks.image.pull import pull
from buildpacks.image.referrers import Referrer
from buildpacks.image.registry import Registry, RegistryOptions
from buildpacks.image.values import Blob, ImageLayer
from buildpacks.order import BuildFailed
from buildpacks.stack.store import StackStore
from tests.contract.registry_house import damaged, image_of, layer_of, noise, plain, push, tar_of
from tests.services.registry import Between, RealRegistry, make_certificate, running

MIB = 1024 * 1024
SBOM = "application/vnd.cyclonedx+json"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    with running(RealRegistry(home=tmp_path_factory.mktemp("registry"))) as registry:
        yield registry


@pytest.fixture
def client(house: RealRegistry) -> Iterator[Registry]:
    registry = plain(house.name)
    yield registry
    registry.close()


def get(registry: RealRegistry, path: str) -> Any:
    """A document of the registry, asked for without our client."""
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"}
    request = urllib.request.Request(f"http://{registry.name}/v2/{path}", headers=accept)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def base_layer(seed: str = "base") -> ImageLayer:
    return layer_of(tar_of(lib=seed.encode() * 300_000), kind="base", title="bookworm")


def weights(seed: str, size: int = 2 * MIB) -> ImageLayer:
    return layer_of(tar_of(model=noise(size, seed)), kind="slice", title="model/net.safetensors")


def app_layer(seed: str) -> ImageLayer:
    return layer_of(tar_of(app=seed.encode() * 100))


def unread(layer: ImageLayer) -> ImageLayer:
    """The same layer, which fails the test when it is read."""

    def read() -> Iterator[bytes]:
        raise AssertionError(f"{layer.title} was read")

    return ImageLayer(diff_id=layer.diff_id, tar_bytes=layer.tar_bytes, kind=layer.kind, title=layer.title, read=read)


def test_a_pushed_image_has_its_layers_in_order_and_its_tags(
    house: RealRegistry, client: Registry, tmp_path: Path
) -> None:
    image = image_of(base_layer(), weights("w"), app_layer("one"))
    pushed = push(image, client, tmp_path, repository="order/app", tags=("0123456789ab", "v1"))
    manifest = get(house, "order/app/manifests/v1")
    assert manifest == get(house, "order/app/manifests/0123456789ab")
    assert manifest == get(house, f"order/app/manifests/{pushed.manifest_digest}")
    assert manifest["config"]["digest"] == image.image_id
    media = [layer["mediaType"].rpartition(".")[2] for layer in manifest["layers"]]
    assert media == ["tar+gzip", "tar", "tar+gzip"]
    assert manifest["layers"][1]["digest"] == image.layers[1].diff_id
    assert house.uploads() == []


def test_a_push_of_new_code_sends_the_new_code_and_asks_nothing_about_the_rest(
    client: Registry, tmp_path: Path
) -> None:
    base, model = base_layer(), weights("code-only", 8 * MIB)
    push(image_of(base, model, app_layer("one")), client, tmp_path, repository="code/app")
    pushed = push(image_of(unread(base), unread(model), app_layer("two")), client, tmp_path, repository="code/app")
    assert (pushed.layers_known, pushed.layers_sent) == (2, 1)
    # Application and configuration: begin and end of an upload each; the manifest by its digest and under its tag.
    assert pushed.requests == 6
    assert pushed.sent_bytes < 10_000


def test_the_same_image_again_costs_its_manifest_and_its_tag(client: Registry, tmp_path: Path) -> None:
    image = image_of(base_layer(), app_layer("again"))
    first = push(image, client, tmp_path, repository="again/app")
    second = push(image_of(*map(unread, image.layers)), client, tmp_path, repository="again/app")
    assert (second.manifest_digest, second.requests, second.layers_sent) == (first.manifest_digest, 2, 0)


def test_a_server_that_remembers_nothing_asks_the_registry_and_sends_nothing_twice(
    client: Registry, tmp_path: Path
) -> None:
    image = image_of(weights("asked"), app_layer("asked"))
    push(image, client, tmp_path / "one", repository="asked/app")
    pushed = push(image, client, tmp_path / "two", repository="asked/app")
    assert pushed.layers_known == 1  # the weights; the application is so small that sending it is quicker than asking
    assert pushed.sent_bytes < 10_000


def test_layers_of_another_repository_are_taken_over_inside_the_registry(client: Registry, tmp_path: Path) -> None:
    base, model = base_layer("mount"), weights("mount")
    push(image_of(base, model, app_layer("a")), client, tmp_path, repository="mount/one")
    pushed = push(image_of(unread(base), unread(model), app_layer("b")), client, tmp_path, repository="mount/two")
    assert (pushed.layers_mounted, pushed.layers_sent) == (2, 1)
    assert pushed.sent_bytes < 10_000


def test_a_registry_that_lost_its_blobs_gets_them_all_again(tmp_path: Path) -> None:
    image = image_of(base_layer("lost"), weights("lost"), app_layer("lost"))
    with running(RealRegistry(home=tmp_path / "one")) as registry:
        client = plain(registry.name)
        first = push(image, client, tmp_path / "blobs")
        registry.stop()
        registry.data.rename(tmp_path / "gone")
        registry.start()
        again = push(image, client, tmp_path / "blobs")
        assert again.manifest_digest == first.manifest_digest
        assert again.layers_sent == 3
        assert get(registry, "team/iris/manifests/v1")["config"]["digest"] == image.image_id
        client.close()


def test_a_damaged_layer_never_becomes_a_blob(house: RealRegistry, client: Registry, tmp_path: Path) -> None:
    for kind, title in (("slice", "model/net.safetensors"), ("layer", "layers/algo_python/deps")):
        sound = layer_of(tar_of(model=noise(3 * MIB, title)), kind=kind, title=title)
        before = house.blob_digests()
        with pytest.raises(BuildFailed) as failed:
            push(image_of(damaged(sound)), client, tmp_path, repository="damaged/app")
        assert (failed.value.code, failed.value.fields["layer"]) == ("layer-damaged", title)
        assert house.blob_digests() == before
    assert list(tmp_path.rglob("sha256/*")) == []


def test_a_layer_whose_last_bytes_alone_are_damaged_never_becomes_a_blob_either(
    house: RealRegistry, client: Registry, tmp_path: Path
) -> None:
    data = tar_of(model=noise(3 * MIB, "whole"))

    def read() -> Iterator[bytes]:
        yield data  # all of it, as it should be: what is wrong is told only afterwards
        raise BuildFailed("layer-damaged", layer="model/x.bin", detail="changed while it was read")

    layer = ImageLayer(diff_id=digest_of(data), tar_bytes=len(data), kind="slice", title="model/x.bin", read=read)
    with pytest.raises(BuildFailed, match="layer-damaged"):
        push(image_of(layer), client, tmp_path, repository="damaged/end")
    assert layer.diff_id not in house.blob_digests()


def test_a_compressed_layer_that_was_changed_on_our_disk_is_noticed_and_made_anew(
    client: Registry, tmp_path: Path
) -> None:
    image = image_of(layer_of(tar_of(lib=b"abc" * 900_000), kind="layer", title="layers/algo_python/deps"))
    first = push(image, client, tmp_path, repository="rot/one")
    blob = next((tmp_path / "sha256").iterdir())
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    (tmp_path / "known" / client.name / "rot+one").unlink()
    again = push(image, client, tmp_path, repository="rot/two")
    assert again.manifest_digest == first.manifest_digest


def test_documents_about_an_image_are_listed_under_its_tag_where_the_registry_does_not_list_them(
    house: RealRegistry, client: Registry, tmp_path: Path
) -> None:
    image = image_of(app_layer("referred"))

    def about(number: int, subject: Blob) -> list[Referrer]:
        return [Referrer(media_type=SBOM, data=json.dumps([number, subject.digest]).encode())]

    first = push(image, client, tmp_path, repository="refer/app", referrers=lambda s: about(1, s))
    push(image, client, tmp_path, repository="refer/app", referrers=lambda s: about(1, s))
    push(image, client, tmp_path, repository="refer/app", referrers=lambda s: about(2, s))
    index = get(house, f"refer/app/manifests/{first.manifest_digest.replace(':', '-')}")
    assert [entry["artifactType"] for entry in index["manifests"]] == [SBOM, SBOM]
    assert index["manifests"][0]["digest"] == first.referrers[0]
    document = get(house, f"refer/app/manifests/{index['manifests'][1]['digest']}")
    assert document["subject"]["digest"] == first.manifest_digest
    assert document["layers"][0]["digest"] == digest_of(json.dumps([2, first.manifest_digest]).encode())


def test_a_registry_that_lost_what_a_document_needs_gets_it_again(
    house: RealRegistry, client: Registry, tmp_path: Path
) -> None:
    # Known to be there, by mistake: the empty configuration that each document's manifest names.
    KnownBlobs(root=tmp_path / "known", registry=client.name).add("refer/lost", [digest_of(EMPTY)])
    image, document = image_of(app_layer("lost document")), Referrer(media_type=SBOM, data=b'{"n":1}')
    pushed = push(image, client, tmp_path, repository="refer/lost", referrers=lambda _: [document])
    assert len(pushed.referrers) == 1
    assert get(house, f"refer/lost/manifests/{pushed.referrers[0]}")["artifactType"] == SBOM


def test_a_proxy_is_used_where_one_is_named_and_not_where_none_is_needed(house: RealRegistry, tmp_path: Path) -> None:
    name = "registry.invalid:5000"
    with Between(house.port, lambda request: None) as between:
        proxies = {"http": f"http://{between.name}"}
        there = Registry(name, RegistryOptions(plain_http=frozenset({name}), proxies=proxies))
        assert push(image_of(app_layer("proxy")), there, tmp_path, repository="proxy/app").layers_sent == 1
        assert all(request.path.startswith(f"http://{name}/v2/") for request in between.seen)
        proxies["no"] = "localhost, .invalid"
        direct = Registry(name, RegistryOptions(plain_http=frozenset({name}), proxies=proxies))
        with pytest.raises(BuildFailed, match="registry-unreachable"):
            push(image_of(app_layer("direct")), direct, tmp_path, repository="proxy/app")


def test_what_was_pushed_can_be_pulled_into_a_stack_store(
    house: RealRegistry, client: Registry, tmp_path: Path
) -> None:
    image = image_of(base_layer("pulled"), weights("pulled"))
    pushed = push(image, client, tmp_path / "blobs", repository="pull/app")
    store = StackStore(root=tmp_path / "stacks")
    options = RegistryOptions(plain_http=frozenset({house.name}))
    told: list[str] = []
    base = pull(f"{house.name}/pull/app:v1", "amd64", store, options, log=told.append)
    assert (base.image_id, base.manifest_digest) == (image.image_id, pushed.manifest_digest)
    assert [layer.diff_id for layer in base.layers] == [layer.diff_id for layer in image.layers]
    assert all(store.blob_path(layer.blob.digest).stat().st_size == layer.blob.size_bytes for layer in base.layers)
    assert len(told) == 2
    pull(f"{house.name}/pull/app@{pushed.manifest_digest}", "amd64", store, options, log=told.append)
    assert len(told) == 2, "what lies in the store is not pulled again"


def test_an_image_that_is_not_there_or_for_other_machines_is_told(
    house: RealRegistry, client: Registry, tmp_path: Path
) -> None:
    push(image_of(app_layer("arch")), client, tmp_path / "blobs", repository="arch/app")
    store = StackStore(root=tmp_path / "stacks")
    options = RegistryOptions(plain_http=frozenset({house.name}))
    with pytest.raises(BuildFailed) as failed:
        pull(f"{house.name}/arch/app:v9", "amd64", store, options, log=print)
    assert (failed.value.code, failed.value.fields["found"]) == ("image-missing", "v9")
    with pytest.raises(BuildFailed) as failed:
        pull(f"{house.name}/arch/app:v1", "arm64", store, options, log=print)
    assert (failed.value.code, failed.value.fields["found"]) == ("image-arch-missing", ["linux/amd64"])


# -- logins ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    home = tmp_path_factory.mktemp("guarded")
    with running(RealRegistry(home=home, users={"alice": "s3cret:with:colons"})) as registry:
        yield registry


def docker_config(folder: Path, **document: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(document))
    return folder


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_the_login_of_docker_login_opens_a_guarded_registry(guarded: RealRegistry, tmp_path: Path) -> None:
    folder = docker_config(tmp_path / "docker", auths={guarded.name: auth("alice", "s3cret:with:colons")})
    pushed = push(image_of(app_layer("in")), plain(guarded.name, docker_config=folder), tmp_path / "blobs")
    assert pushed.layers_sent == 1
    assert pushed.requests == 7, "one refusal, from which the client learns what the registry wants"


def test_four_layers_at_once_log_in_together(guarded: RealRegistry, tmp_path: Path) -> None:
    folder = docker_config(tmp_path / "docker", auths={guarded.name: auth("alice", "s3cret:with:colons")})
    layers = [layer_of(tar_of(app=noise(2 * MIB, str(number)))) for number in range(6)]
    pushed = push(image_of(*layers), plain(guarded.name, docker_config=folder), tmp_path / "blobs")
    assert pushed.layers_sent == 6


def test_a_login_from_a_credential_helper_is_taken(
    guarded: RealRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "docker-credential-tests"
    answer = {"ServerURL": guarded.name, "Username": "alice", "Secret": "s3cret:with:colons"}
    helper.write_text(
        f"#!{sys.executable}\nimport sys\nassert sys.argv[1:] == ['get']\n"
        f"assert sys.stdin.read() == {guarded.name!r}\nprint({json.dumps(answer)!r})\n"
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    folder = docker_config(tmp_path / "docker", credHelpers={guarded.name: "tests"})
    assert push(image_of(app_layer("h")), plain(guarded.name, docker_config=folder), tmp_path / "b").layers_sent == 1


def test_no_login_and_a_wrong_one_are_told_apart_and_the_password_is_in_neither(
    guarded: RealRegistry, tmp_path: Path
) -> None:
    with pytest.raises(BuildFailed) as failed:
        push(image_of(app_layer("none")), plain(guarded.name), tmp_path / "blobs")
    assert failed.value.code == "registry-login-missing"
    folder = docker_config(tmp_path / "docker", auths={guarded.name: auth("alice", "wr0ng-word")})
    with pytest.raises(BuildFailed) as failed:
        push(image_of(app_layer("none")), plain(guarded.name, docker_config=folder), tmp_path / "blobs")
    assert (failed.value.code, failed.value.fields["user"]) == ("registry-login-wrong", "alice")
    assert "wr0ng" not in str(failed.value)


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    home = tmp_path_factory.mktemp("tls")
    with running(RealRegistry(home=home, certificate=make_certificate(home))) as registry:
        yield registry


def test_a_registry_with_a_certificate_of_its_own_is_reached_once_that_is_trusted(
    with_tls: RealRegistry, tmp_path: Path
) -> None:
    assert with_tls.certificate is not None
    trusting = Registry(with_tls.name, RegistryOptions(ca_bundle=str(with_tls.certificate[0])))
    assert push(image_of(app_layer("tls")), trusting, tmp_path).layers_sent == 1
    context = ssl.create_default_context(cafile=str(with_tls.certificate[0]))
    with urllib.request.urlopen(f"https://{with_tls.name}/v2/team/iris/tags/list", context=context) as answer:
        assert json.load(answer)["tags"] == ["v1"]


def test_an_unknown_certificate_is_refused_at_once(with_tls: RealRegistry, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed) as failed:
        push(image_of(app_layer("tls")), Registry(with_tls.name, RegistryOptions()), tmp_path)
    assert failed.value.code == "registry-certificate"
    assert "self-signed" in str(failed.value.fields["cause"])


def test_plain_http_is_spoken_only_when_said_even_to_localhost(house: RealRegistry, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed) as failed:
        push(image_of(app_layer("x")), Registry(house.name, RegistryOptions()), tmp_path)
    assert failed.value.code == "registry-plain-http"


def test_a_registry_with_tls_that_is_spoken_to_without_is_told_as_that(with_tls: RealRegistry, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed) as failed:
        push(image_of(app_layer("x")), plain(with_tls.name), tmp_path)
    assert failed.value.code == "registry-wants-https"
