"""What a build may reach, decided from settings alone; and the name that a TLS client asks for."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildpacks.toolchain import find_toolchain
from gitserver.targets.build_network import (
    RELAY_URL,
    BuildNetwork,
    Gate,
    Place,
    index_urls,
    inside_env,
    is_near,
    needs_default_index,
    place_of,
    registry_urls,
    upstream_of,
)
from gitserver.targets.index_hosts import default_index
from gitserver.targets.tls_hello import NotTls, read_hello

INDEX = "https://index.example/simple"


def test_registries_of_other_languages_are_read_from_what_the_operator_names() -> None:
    env = {
        "GOPROXY": "https://one.example/go|https://two.example,direct", "GOSUMDB": "sum.example https://three.example/db",
        "NPM_CONFIG_REGISTRY": "https://four.example:8443/npm/", "MAVEN_MIRROR": "", "DEBIAN_MIRROR": "http://five.example",
    }  # fmt: skip
    assert registry_urls(env) == (
        "https://four.example:8443/npm/", "https://one.example/go", "https://two.example", "https://three.example/db",
        "http://five.example",
    )  # fmt: skip
    assert registry_urls({"GOPROXY": "off", "GOSUMDB": "off"}) == ()


def test_indexes_are_read_as_uv_and_pip_read_them() -> None:
    env = {
        "UV_DEFAULT_INDEX": "https://u:p@one.example/simple", "UV_INDEX": "cpu=https://two.example/whl three=http://3.example:81",
        "PIP_EXTRA_INDEX_URL": "https://four.example\nhttps://five.example/simple",
        "UV_FIND_LINKS": "/srv/wheels,https://six.example/wheels", "PIP_FIND_LINKS": "/srv/wheels",
    }  # fmt: skip
    assert index_urls(env) == (
        "https://u:p@one.example/simple", "https://two.example/whl", "http://3.example:81", "https://four.example",
        "https://five.example/simple", "https://six.example/wheels",
    )  # fmt: skip


def test_without_an_index_only_links_count() -> None:
    env = {"UV_NO_INDEX": "1", "UV_INDEX": INDEX, "PIP_FIND_LINKS": "https://links.example/"}
    assert index_urls(env) == ("https://links.example/",)
    assert not needs_default_index(env)


@pytest.mark.parametrize(
    ("env", "needed"),
    [({}, True), ({"UV_INDEX": INDEX}, True), ({"PIP_INDEX_URL": INDEX}, False), ({"UV_OFFLINE": "true"}, False),
     ({"UV_NO_INDEX": "0"}, True)],
)  # fmt: skip
def test_uvs_own_index_counts_where_uv_would_ask_it(env: dict[str, str], needed: bool) -> None:
    assert needs_default_index(env) is needed


def test_the_installed_uv_says_which_index_that_is() -> None:
    found = default_index(find_toolchain().uv)
    assert found is not None
    assert found.startswith("https://")


def test_sec_34_passwords_of_indexes_are_for_the_server_alone() -> None:
    env = {
        "UV_INDEX": "a=https://user:CANARY@one.example/x b=https://CANARY@two.example",
        "UV_FIND_LINKS": "https://three.example/x,https://u:p@CANARY@four.example",
        "HTTPS_PROXY": "http://u:CANARY@p:1",
        "http_proxy": "u:CANARY@p:1",
    }
    for network in BuildNetwork:
        assert "CANARY" not in str(inside_env(env, network, trusted=False))
    assert inside_env(env, BuildNetwork.NONE, trusted=False) == {
        "UV_INDEX": "a=https://one.example/x b=https://two.example",
        "UV_FIND_LINKS": "https://three.example/x,https://four.example",
    }
    assert "CANARY@one" in inside_env(env, BuildNetwork.INDEXES, trusted=True)["UV_INDEX"]


def test_the_way_out_of_a_build_is_the_relay_and_nothing_goes_past_it() -> None:
    env = {"https_proxy": "http://proxy.example:3128", "NO_PROXY": "*", "no_proxy": "index.example"}
    inside = inside_env(env, BuildNetwork.INDEXES, trusted=False)
    assert inside["https_proxy"] == inside["HTTP_PROXY"] == RELAY_URL
    assert "NO_PROXY" not in inside
    assert "no_proxy" not in inside
    assert inside_env(env, BuildNetwork.OPEN, trusted=False) == env


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.8.8.8", "::1", "169.254.169.254", "fe80::1%eth0", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
     "0.0.0.0", "fd00:ec2::254", "100.100.100.200", "224.0.0.1"],
)  # fmt: skip
def test_sec_35_addresses_of_this_machine_and_of_metadata_are_near(address: str) -> None:
    assert is_near(address)
    place = Place(host="index.example", port=443)
    assert not Gate(named=frozenset(), linked=frozenset({place})).is_open_at(place, address)
    assert Gate(named=frozenset({place})).is_open_at(place, address)


def test_other_addresses_are_not_near() -> None:
    assert not any(map(is_near, ("192.0.2.7", "10.0.0.8", "2001:db8::1")))


@pytest.mark.parametrize(
    ("url", "place"),
    [("https://Index.Example/x", "index.example:443"), ("http://h:81/", "h:81"), ("https://[::1]:8443/", "[::1]:8443"),
     ("ftp://h/", None), ("https://", None), ("https://h:99999/", None), ("https://a b/", None), ("file:///x", None)],
)  # fmt: skip
def test_a_url_leads_to_one_place_or_none(url: str, place: str | None) -> None:
    found = place_of(url)
    assert (None if found is None else str(found)) == place


def test_the_operators_own_proxy_counts_unless_no_proxy_names_the_host() -> None:
    env = {"https_proxy": "http://secure:1", "HTTP_PROXY": "plain:2", "NO_PROXY": "direct.example, .inner.example"}

    def proxy(host: str, *, secure: bool) -> str | None:
        found = upstream_of(env, Place(host=host, port=443), secure=secure)
        return None if found is None else found.netloc

    assert proxy("index.example", secure=True) == "secure:1"
    assert proxy("index.example", secure=False) == "plain:2"
    assert proxy("direct.example", secure=True) is None
    assert proxy("a.inner.example", secure=True) is None
    assert proxy("notdirect.example", secure=True) == "secure:1"


# -- TLS


def hello(name: str | None) -> bytes:
    """What a real TLS client says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def records(data: bytes, size: int) -> bytes:
    """The same message in records of so many bytes."""
    body = data[5:]
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(data[:3] + len(piece).to_bytes(2, "big") + piece for piece in pieces)


def test_a_real_clients_hello_names_its_server() -> None:
    found = read_hello(hello("Index.Example") + b"more")
    assert found is not None
    assert found.server_name == "index.example"
    without = read_hello(hello(None))
    assert without is not None
    assert without.server_name is None


def test_a_hello_in_many_records_is_put_together_and_half_of_one_is_waited_for() -> None:
    data = records(hello("index.example"), 7)
    whole = read_hello(data)
    assert whole is not None
    assert whole.server_name == "index.example"
    assert all(read_hello(data[:size]) is None for size in range(len(data)))


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", b"\x17\x03\x03\x00\x01x", b"\x16\x03\x01\x00\x00"]
)
def test_what_is_no_tls_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(NotTls):
        read_hello(data)


HELLO = hello("index.example")


@given(st.binary(max_size=300), st.integers(0, 300))
def test_a_damaged_hello_is_a_verdict_and_never_a_crash(noise: bytes, at: int) -> None:
    damaged = HELLO[: 5 + at] + noise + HELLO[5 + at + len(noise) :]
    try:
        read_hello(damaged)
    except NotTls:
        pass
