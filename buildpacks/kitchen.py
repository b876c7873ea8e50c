"""The lifecycle's process, prepared: folders, job file, operator's environment, what its sandbox must show."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildpacks.choosing.bring import Chosen
from buildpacks.choosing.laying import lay_out
from buildpacks.choosing.values import Terms
from buildpacks.image.store import LayerStore
from buildpacks.known_layers import write_known_layers
from buildpacks.launch_layers import previous_exec_env, previous_sboms
from buildpacks.model_notes import write_known
from buildpacks.order import BuildFailed, BuildOrder, Child, Json, is_for_buildpacks
from buildpacks.packs.second_image import NAMES as VARIANTS
from buildpacks.packs.toolchains.starts import needs_debian
from buildpacks.toolchain import BUILDPACKS_DIR, Toolchain

PACKS_DIR = BUILDPACKS_DIR / "packs"
DPKG_DIR = Path("/var/lib/dpkg")
LIFECYCLE = BUILDPACKS_DIR / "lifecycle" / "__main__.py"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
# Up to the last @: a password may have one. A proxy may be named without its scheme.
_CREDENTIALS = re.compile(r"(://|^)[^/\s]+@")
# The server decides these. They reach buildpacks as the operator's override, after anything of the app.
_OURS = frozenset({"BP_UV", "BP_UV_VERSION", "BP_PYTHONS", "BP_RUNTIME_DIR"})
# And this one people know of: an app that sets it is told whose it is, not left to wonder why nothing comes of it.
_OF_OPERATOR = "BP_TORCH_INDEX"
# With an index of its own, an app has a wheel cache of its own: uv's knows indexes by their address, without account.
_OWN_INDEXES = ("BP_INDEX_URL", "BP_EXTRA_INDEX_URL", "BP_NETRC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """One attempt's folders below the build's work_dir, and the child that works in them.

    shares  it executes nothing of the repository and uses the wheel cache of all apps (known_layers.py)
    """

    layers: Path
    result: Path
    child: Child
    choice: Mapping[str, Json] | None = None
    shares: bool = False


def prepare(
    order: BuildOrder,
    tools: Toolchain,
    previous: Sequence[Mapping[str, Json]],
    *,
    trusted: bool,
    chosen: Chosen | None = None,
    sees_passwords: bool = True,
) -> Workshop:
    """Make the folders of an attempt and describe its process.

    previous  buildpacks of the previous image's lifecycle metadata whose layers are still in the store
    trusted   True: wheels only, the shared cache; False: sources may be built, in a cache of this app alone
    chosen    the app's own choice of buildpacks; None: all of ours, by detection. With strangers' ones never trusted
    sees_passwords  False: the operator's settings come without passwords, as for buildpacks of strangers

    For a stack, code of the repository runs in a container of its build image, and so does everything when no Python
    of this machine can stand in for the stack's.
    """
    ground = order.ground
    contained = ground.stack is not None and (not trusted or ground.needs_container)
    own_python = Path(ground.pythons[0].path) if contained else tools.python
    root = order.work_dir / ("wheels" if trusted else "sources")
    layers, tmp, home = root / "layers", root / "tmp", root / "home"
    for folder in (layers, tmp, home, root / "platform", root / "build-config" / "env"):
        folder.mkdir(parents=True)
    shares_wheels = trusted and not any(order.platform_env.get(name) for name in _OWN_INDEXES)
    uv_cache = order.wheel_dir if shares_wheels else order.cache_dir / "uv"
    byte_code = uv_cache.with_name("bytecode")
    for folder in (uv_cache, byte_code):
        folder.mkdir(parents=True, exist_ok=True)
    _write_env(root / "platform" / "env", _platform_env(order.platform_env))
    laid = None if chosen is None else lay_out(chosen, root, order.terms or Terms())
    install_env = _for_container(order.install_env, trusted=trusted) if contained else order.install_env
    if not sees_passwords or (chosen is not None and chosen.is_foreign):
        install_env = _without_credentials(install_env)
    ours = {
        **install_env,
        **({} if laid is None else laid.env),
        "BP_UV": str(tools.uv),
        "BP_UV_VERSION": tools.uv_version,
        "BP_PYTHONS": ":".join(map(str, tools.pythons)),
        "ALGO_GROUND": ground.in_container() if contained else ground.on_this_machine(),
        "ALGO_PLATFORM": ground.platform,
        "BP_RUNTIME_DIR": str(order.runtime_dir),
        **write_known(order, root / "build-config"),
        **(write_known_layers(LayerStore(root=order.store_dir), root / "build-config") if shares_wheels else {}),
        "UV_CACHE_DIR": str(uv_cache),
        "ALGO_BYTECODE": str(byte_code),
        "TMPDIR": str(tmp),
        "LANG": "C.UTF-8",
        "SOURCE_DATE_EPOCH": "315532801",
        "PYTHONHASHSEED": "0",
        "ALGO_VARIANTS": ",".join(VARIANTS),
        "ALGO_WHEELS_ONLY": "1" if trusted else "0",
        "ALGO_UPGRADE": "1" if order.upgrade else "0",
    }
    _write_env(root / "build-config" / "env", {f"{name}.override": value for name, value in ours.items()})
    cache = order.cache_dir / "layers"
    sboms = previous_sboms(order.previous, LayerStore(root=order.store_dir))
    path = SYSTEM_PATH if contained else f"{tools.python.parent}:{SYSTEM_PATH}"
    job = {
        "app": str(order.app_dir),
        "layers": str(layers),
        "platform": str(root / "platform"),
        "build_config": str(root / "build-config"),
        "tmp": str(tmp),
        "result": str(tmp / "result.json"),
        "order": str(PACKS_DIR / "order.toml" if laid is None else laid.order),
        "buildpacks": [
            *(str(path.parent) for path in sorted(PACKS_DIR.glob("*/buildpack.toml"))),
            *(str(path) for path in (() if laid is None else laid.directories)),
        ],
        "cache": str(cache) if cache.is_dir() else "",
        "previous": list(previous),
        "previous_exec_env": previous_exec_env(order.previous),
        "sboms": str(sboms or ""),
        "timeout_s": order.timeout_s,
        "env": {"PATH": path, "HOME": str(home), "CNB_STACK_ID": ground.stack_id, **_proxies(install_env)},
        "inherits_proxies": contained,
        "target": ground.target(),
    }
    (root / "job.json").write_text(json.dumps(job))
    return Workshop(
        layers=layers,
        result=tmp / "result.json",
        child=Child(
            argv=[str(own_python), "-I", "-S", str(LIFECYCLE), str(root / "job.json")],
            env={
                "PATH": path, "HOME": str(home), "TMPDIR": str(tmp), "LANG": "C.UTF-8",
                **(_proxies(order.install_env) if contained else {}),
            },
            cwd=order.app_dir,
            readable=[
                *((tools.uv, BUILDPACKS_DIR) if contained else tools.readable()), *_compilers(order), order.runtime_dir,
                root, *([cache] if cache.is_dir() else []), *([] if sboms is None else [sboms]),
                *_named_folders(order.install_env), *([] if contained else _debian(order)),
            ],
            writable=[
                order.app_dir, layers, tmp, home, uv_cache, byte_code, *([] if laid is None else [laid.folder]),
            ],
            timeout_s=order.timeout_s,
            trusted=trusted,
            contained=contained,
            places={} if laid is None else laid.places,
        ),
        choice=None if chosen is None else chosen.document,
        shares=shares_wheels,
    )  # fmt: skip


def _platform_env(values: Mapping[str, str]) -> dict[str, str]:
    """What buildpacks see of an app's configuration. Raises BuildFailed('setting-of-operator')."""
    if _OF_OPERATOR in values:
        raise BuildFailed("setting-of-operator", name=_OF_OPERATOR)
    return {name: value for name, value in values.items() if is_for_buildpacks(name) and name not in _OURS}


def _write_env(folder: Path, values: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / name).write_text(value, encoding="utf-8", errors="surrogateescape")


def _proxies(install_env: Mapping[str, str]) -> dict[str, str]:
    return {name: install_env[name] for name in PROXIES if name in install_env}


def _for_container(install_env: Mapping[str, str], *, trusted: bool) -> dict[str, str]:
    """The operator's settings in a container: who runs it says which proxy leads out, and strangers see no password."""
    inside = {name: value for name, value in install_env.items() if name not in PROXIES}
    return inside if trusted else _without_credentials(inside)


def _without_credentials(install_env: Mapping[str, str]) -> dict[str, str]:
    """Passwords in URLs of indexes and proxies are not for code of strangers."""
    return {name: _CREDENTIALS.sub(r"\1", value) for name, value in install_env.items()}


def _named_folders(install_env: Mapping[str, str]) -> list[Path]:
    """Folders of this machine that the operator's settings name: local wheels, certificates."""
    found = []
    for name in ("PIP_FIND_LINKS", "UV_FIND_LINKS"):
        found += [Path(place) for place in re.split(r"[\s,]+", install_env.get(name, "")) if place.startswith("/")]
    for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if install_env.get(name, "").startswith("/"):
            found.append(Path(install_env[name]).parent)
    if install_env.get("SSL_CERT_DIR", "").startswith("/"):
        found += [Path(place) for place in install_env["SSL_CERT_DIR"].split(":")]
    return list(dict.fromkeys(path for path in found if path.is_dir()))


def _debian(order: BuildOrder) -> list[Path]:
    """What this machine has installed, for an app whose build asks apt for packages beside that."""
    return [DPKG_DIR] if needs_debian(str(order.app_dir)) and DPKG_DIR.is_dir() else []


def _compilers(order: BuildOrder) -> list[Path]:
    """Folders of the stack's unpacked files, from which its interpreter runs here."""
    return [Path(python.compiler_env["PYTHONHOME"]).parent for python in order.ground.pythons if python.compiler_env]
