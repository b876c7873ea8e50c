"""The server's configuration: one frozen value, read from options, environment and file in that order.

The environment is read here and nowhere else on the server's side (tests/unit/test_house.py holds that).
"""

from __future__ import annotations

import getpass
import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from buildpacks.choosing.allowance import parse_allowance
from buildpacks.image.reference import parse_place
from buildpacks.order import BuildFailed
from gitserver.errors import Problem
from gitserver.push import parse_name

MIB = 1024 * 1024

# What reaches installs and build sandboxes: package indexes, certificates, proxies. An operator adds names with
# ALGO_BUILD_ENV=NAME,NAME. Names, not values, so that no secret is ever named in a file by accident.
BUILD_ENV_NAMES = (
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CERT", "PIP_NO_INDEX",
    "UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_NO_INDEX",
    "UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "UV_OFFLINE", "UV_HTTP_TIMEOUT", "UV_PYTHON_DOWNLOADS",
    "NPM_CONFIG_REGISTRY", "NODE_EXTRA_CA_CERTS", "MAVEN_MIRROR", "DEBIAN_MIRROR",
    "BUNDLE_MIRROR__ALL",
    "GOPROXY", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOINSECURE",
)  # fmt: skip


DOCKER_SOCKET = "unix:///var/run/docker.sock"
_LOCAL_ENGINE = re.compile(r"unix://|tcp://(?:localhost|127\.0\.0\.1|\[::1\])[:/]")
_SWITCHES = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """HOST:PORT; port 0 asks for a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that an operator can decide, with the defaults of a single machine."""

    state: Path
    http: Address
    ssh: Address
    owner: str
    target: str = "process"
    public_url: str = ""  # how users reach us when a proxy stands in front; empty: http://HTTP
    domain: str = ""  # with it, endpoints also have a host of their own
    memory_mib: int = 2048  # of one release
    preview_ttl_s: int = 72 * 3600
    preview_limit: int = 5
    ready_timeout_s: int = 120
    drain_s: float = 30.0  # 0 switches draining off: only for showing that tests notice
    idle_s: int = 600  # a version started by a call goes away after so long without one
    builds_at_once: int = 2
    build_timeout_s: int = 3600
    max_pack_bytes: int = 2048 * MIB
    max_body_bytes: int = 100 * MIB
    isolation: str = "auto"  # the least that a release must get: auto, none, user, namespace
    docker_host: str = DOCKER_SOCKET  # the engine of the docker target, on this machine
    cpus: float = 0.0  # processors that one release may use; 0: all of them (docker target)
    registry: str = ""  # HOST[:PORT]/PREFIX: every image is pushed there before its release serves
    registry_plain_http: bool = False
    docker_config: str = ""  # folder with Docker's config.json, for the registry's credentials
    build_network: str = "indexes"  # what code of a repository reaches while it is built: none, indexes, open
    buildpacks: str = "repository"  # which an app may choose: builtin, repository, any, beginnings of URLs
    torch_index: str = ""  # of PyTorch builds for processors: a simple index's URL, or off; empty: uv's own
    allow_dockerfile: bool = False  # a Dockerfile in a repository is built by the engine
    keep_releases: int = 20  # of an environment, whose images gc leaves alone
    keep_days: int = 30
    build_env: Mapping[str, str]

    @property
    def url(self) -> str:
        """The address that users type, without a slash at the end."""
        return self.public_url.rstrip("/") or f"http://{self.http}"

    # Folders of the state directory. Everything is found through these; nobody joins paths elsewhere.
    @property
    def ledger_url(self) -> str:
        """SQLAlchemy's URL of the ledger."""
        return f"sqlite:///{self.state / 'ledger.sqlite'}"

    @property
    def run_dir(self) -> Path:
        """Sockets and running instances."""
        return self.state / "run"

    def repo_path(self, app_id: int) -> Path:
        """The bare repository of an app."""
        return self.state / "git" / f"{app_id}.git"

    def build_log(self, build_id: int) -> Path:
        """The whole log of a build, as the pusher saw it."""
        return self.state / "logs" / "builds" / f"{build_id}.log"

    def build_done(self, build_id: int) -> Path:
        """Appears when the build's record is final: what followers wait for."""
        return self.state / "logs" / "builds" / f"{build_id}.done"

    def app_log(self, app_id: int) -> Path:
        """What an app's processes wrote: one file an app, lines marked with their release."""
        return self.state / "logs" / "apps" / f"{app_id}.log"


def parse_address(text: str, *, option: str) -> Address:
    """`127.0.0.1:8080`, `[::1]:8080` -> Address; else Problem('bad-address')."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdigit() or int(port) > 65535:
        raise Problem("bad-address", option=option, found=text)
    return Address(host=host, port=int(port))


def read_settings(options: Mapping[str, str | None], environ: Mapping[str, str]) -> Settings:
    """Options beat ALGO_* variables beat the file (ALGO_CONFIG, or config.toml in the state folder) beat defaults.

    Raises  Problem('bad-setting') that names the place and the value, Problem('bad-address'), Problem('bad-name')
    """
    state = (
        Path(options.get("state") or environ.get("ALGO_STATE") or Path(environ.get("HOME", "/")) / ".local/share/algo")
        .expanduser()
        .absolute()
    )
    file_path = Path(options.get("config") or environ.get("ALGO_CONFIG") or state / "config.toml")
    from_file = _read_file(file_path, _known())

    def pick(name: str, default: str) -> str:
        return options.get(name) or environ.get(f"ALGO_{name.upper()}") or from_file.get(name) or default

    def number(name: str, default: float) -> float:
        text = pick(name, str(default))
        try:
            value = float(text)
        except ValueError as error:
            raise Problem("bad-setting", setting=name, found=text, expected="a number") from error
        if value < 0:
            raise Problem("bad-setting", setting=name, found=text, expected="a number from 0")
        return value

    def one_of(name: str, *allowed: str) -> str:
        value = pick(name, allowed[0])
        if value not in allowed:
            raise Problem(
                "bad-setting", setting=name, found=value, expected=f"{', '.join(allowed[:-1])} or {allowed[-1]}"
            )
        return value

    def switch(name: str) -> bool:
        text = pick(name, "off").lower()
        if text not in _SWITCHES:
            raise Problem("bad-setting", setting=name, found=text, expected="on or off")
        return _SWITCHES[text]

    torch_index = pick("torch_index", "")
    if torch_index not in {"", "off"} and not torch_index.startswith(("http://", "https://", "file://")):
        raise Problem("bad-setting", setting="torch_index", found=torch_index, expected="an URL, or off")
    target, registry = one_of("target", "process", "docker"), pick("registry", "").strip("/")
    docker_host = pick("docker_host", environ.get("DOCKER_HOST") or DOCKER_SOCKET)
    _check_docker(target, docker_host, registry)
    names = [*BUILD_ENV_NAMES, *filter(None, pick("build_env", "").split(","))]
    return Settings(
        state=state,
        http=parse_address(pick("http", "127.0.0.1:8080"), option="http"),
        ssh=parse_address(pick("ssh", "127.0.0.1:2222"), option="ssh"),
        owner=parse_name(pick("owner", environ.get("ALGO_OWNER") or _os_user()), what="owner"),
        target=target,
        public_url=pick("public_url", ""),
        domain=pick("domain", ""),
        memory_mib=int(number("memory_mib", 2048)),
        preview_ttl_s=int(number("preview_ttl_s", 72 * 3600)),
        preview_limit=int(number("preview_limit", 5)),
        ready_timeout_s=int(number("ready_timeout_s", 120)),
        drain_s=number("drain_s", 30),
        idle_s=int(number("idle_s", 600)),
        builds_at_once=max(1, int(number("builds_at_once", 2))),
        build_timeout_s=int(number("build_timeout_s", 3600)),
        max_pack_bytes=int(number("max_pack_bytes", 2048 * MIB)),
        max_body_bytes=int(number("max_body_bytes", 100 * MIB)),
        isolation=one_of("isolation", "auto", "none", "user", "namespace"),
        docker_host=docker_host,
        cpus=number("cpus", 0),
        registry=registry,
        registry_plain_http=switch("registry_plain_http"),
        docker_config=pick("docker_config", environ.get("DOCKER_CONFIG") or f"{environ.get('HOME', '/')}/.docker"),
        build_network=one_of("build_network", "indexes", "none", "open"),
        buildpacks=_checked_buildpacks(pick("buildpacks", "repository")),
        torch_index=torch_index,
        allow_dockerfile=switch("allow_dockerfile"),
        keep_releases=max(1, int(number("keep_releases", 20))),
        keep_days=int(number("keep_days", 30)),
        build_env={
            **{name: environ[name] for name in names if name in environ},
            **({"BP_TORCH_INDEX": torch_index} if torch_index else {}),
        },
    )


def _check_docker(target: str, docker_host: str, registry: str) -> None:
    if target == "docker" and not _LOCAL_ENGINE.match(docker_host):
        expected = "unix:///PATH: the engine shares folders with this server"
        raise Problem("bad-setting", setting="docker_host", found=docker_host, expected=expected)
    if registry and target == "process":
        raise Problem("bad-setting", setting="registry", found=registry, expected="nothing without --target docker")
    if registry:
        try:
            parse_place(registry)
        except BuildFailed as failed:
            raise Problem("registry-setting-bad", found=registry[:200]) from failed


def _checked_buildpacks(text: str) -> str:
    try:
        return parse_allowance(text).text
    except ValueError as error:
        raise Problem("bad-setting", setting="buildpacks", found=text[:200], expected=str(error)) from error


def _known() -> set[str]:
    """Names that a file may set: every field but the folder that it may lie in."""
    return set(Settings.__dataclass_fields__) - {"state"}


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's numeric user has no name
        return f"user{os.getuid()}"


def _read_file(path: Path, known: set[str]) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Problem("bad-config-file", path=str(path), found=str(error)) from error
    unknown = sorted(set(values) - known)
    if unknown:
        raise Problem("unknown-setting", path=str(path), found=unknown[0], known=", ".join(sorted(known)))
    return {name: str(value) for name, value in values.items()}


def save_settings(settings: Settings, path: Path) -> None:
    """Write the resolved settings for the server's own processes, so that all of them decide alike."""
    document = {name: getattr(settings, name) for name in settings.__dataclass_fields__}
    document |= {"state": str(settings.state), "http": str(settings.http), "ssh": str(settings.ssh)}
    document["build_env"] = dict(settings.build_env)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(document, file)


def load_settings(path: Path) -> Settings:
    """Read what save_settings wrote."""
    document = json.loads(path.read_text(encoding="utf-8"))
    document["state"] = Path(document["state"])
    document["http"] = parse_address(document["http"], option="http")
    document["ssh"] = parse_address(document["ssh"], option="ssh")
    return Settings(**document)
