"""Names of images, read as Docker reads them, and refused where Docker refuses them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildpacks.image.reference import Reference, is_repository, is_tag, parse_place, parse_reference
from buildpacks.order import BuildFailed

DIGEST = f"sha256:{'0123456789abcdef' * 4}"


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("python", "docker.io", "library/python", "", ""),
        ("python:3.11-slim", "docker.io", "library/python", "3.11-slim", ""),
        ("team/app", "docker.io", "team/app", "", ""),
        ("docker.io/python", "docker.io", "library/python", "", ""),
        ("index.docker.io/team/app:v1", "docker.io", "team/app", "v1", ""),
        ("localhost/app", "localhost", "app", "", ""),
        ("localhost:5000/app:v1", "localhost:5000", "app", "v1", ""),
        ("host.example/a/b/c", "host.example", "a/b/c", "", ""),
        ("[::1]:5000/app", "[::1]:5000", "app", "", ""),
        ("HOST/app", "HOST", "app", "", ""),
        (f"host.example/app@{DIGEST}", "host.example", "app", "", DIGEST),
        (f"host.example/app:v1@{DIGEST}", "host.example", "app", "v1", DIGEST),
        ("a__b/c-d.e--f:T_1", "docker.io", "a__b/c-d.e--f", "T_1", ""),
    ],
)
def test_a_name_means_what_it_means_to_docker(text: str, registry: str, repository: str, tag: str, digest: str) -> None:
    found = parse_reference(text)
    assert found == Reference(registry=registry, repository=repository, tag=tag, digest=digest)


@pytest.mark.parametrize(
    "text",
    [
        "", "/app", "app/", "a//b", "team/App", "app:", "app:-x", f"app:{'x' * 129}", "app@sha256:12", "app@md5:00",
        "https://host.example/app", "host.example:99999999/app", "-app", "app_", "a___b", "a..b", "ab/..", "app:v1:v2",
        "host.example/app name", "host.example/app\n", "user:password@host.example/app", "a" * 256, "f" * 64,
        "host_name.example/app", "../app", "host.example/",
    ],
)  # fmt: skip
def test_a_name_that_docker_refuses_is_refused_and_never_mended(text: str) -> None:
    with pytest.raises(BuildFailed, match="image-reference-bad"):
        parse_reference(text)


def test_the_default_registry_answers_at_another_host_and_all_others_at_their_own() -> None:
    assert parse_reference("python").api_host == "registry-1.docker.io"
    assert parse_reference("host.example:5000/app").api_host == "host.example:5000"


def test_the_digest_is_asked_for_before_the_tag_and_the_tag_before_latest() -> None:
    assert parse_reference(f"app:v1@{DIGEST}").wanted == DIGEST
    assert parse_reference("app:v1").wanted == "v1"
    assert parse_reference("app").wanted == "latest"


@given(st.from_regex(r"[a-z0-9._/:@A-Z-]{1,40}", fullmatch=True))
def test_what_is_read_is_written_the_same_way_and_read_again(text: str) -> None:
    try:
        found = parse_reference(text)
    except BuildFailed:
        return
    assert parse_reference(str(found)) == found
    assert is_repository(found.repository)
    assert found.tag == "" or is_tag(found.tag)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("registry.example.org/models", ("registry.example.org", "models")),
        ("localhost:5000", ("localhost:5000", "")),
        ("localhost/a/b", ("localhost", "a/b")),
        ("docker.io/team", ("docker.io", "team")),
    ],
)
def test_a_place_for_many_images_is_a_host_and_a_prefix(text: str, expected: tuple[str, str]) -> None:
    assert parse_place(text) == expected


@pytest.mark.parametrize(
    "text", ["", "team", "team/models", "https://h.example/x", "h.example/", "h.example/X", "h.example/a:v1"]
)
def test_a_place_without_a_host_is_refused(text: str) -> None:
    with pytest.raises(BuildFailed, match="registry-place-bad"):
        parse_place(text)
