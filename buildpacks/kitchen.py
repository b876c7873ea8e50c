"""The lifecycle's process, prepared: folders, job file, operator's environment, what its sandbox must show."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildpacks.order import BuildOrder, Child, Json
from buildpacks.toolchain import BUILDPACKS_DIR, Toolchain

PACKS_DIR = BUILDPACKS_DIR / "packs"
LIFECYCLE = BUILDPACKS_DIR / "lifecycle" / "__main__.py"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_CREDENTIALS = re.compile(r"://[^/@\s]+@")
_PLATFORM_NAME = re.compile(r"BPL?_[A-Z0-9_]{1,100}")
# The server decides these. They reach buildpacks as the operator's override, after anything of the app.
_OURS = frozenset({"BP_UV", "BP_UV_VERSION", "BP_PYTHONS", "BP_RUNTIME_DIR"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """One attempt's folders below the build's work_dir, and the child that works in them."""

    layers: Path
    result: Path
    child: Child


def prepare(order: BuildOrder, tools: Toolchain, previous: Sequence[Mapping[str, Json]], *, trusted: bool) -> Workshop:
    """Make the folders of an attempt and describe its process.

    previous  buildpacks of the previous image's lifecycle metadata whose layers are still in the store
    trusted   True: wheels only, the shared cache; False: sources may be built, in a cache of this app alone

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
    uv_cache = order.wheel_dir if trusted else order.cache_dir / "uv"
    uv_cache.mkdir(parents=True, exist_ok=True)
    _write_env(root / "platform" / "env", _platform_env(order.platform_env))
    install_env = _for_container(order.install_env, trusted=trusted) if contained else order.install_env
    ours = {
        **install_env,
        "BP_UV": str(tools.uv),
        "BP_UV_VERSION": tools.uv_version,
        "BP_PYTHONS": ":".join(map(str, tools.pythons)),
        "ALGO_GROUND": ground.in_container() if contained else ground.on_this_machine(),
        "ALGO_PLATFORM": ground.platform,
        "BP_RUNTIME_DIR": str(order.runtime_dir),
        "UV_CACHE_DIR": str(uv_cache),
        "TMPDIR": str(tmp),
        "LANG": "C.UTF-8",
        "SOURCE_DATE_EPOCH": "315532801",
        "PYTHONHASHSEED": "0",
        "ALGO_WHEELS_ONLY": "1" if trusted else "0",
    }
    _write_env(root / "build-config" / "env", {f"{name}.override": value for name, value in ours.items()})
    cache = order.cache_dir / "layers"
    path = SYSTEM_PATH if contained else f"{tools.python.parent}:{SYSTEM_PATH}"
    job = {
        "app": str(order.app_dir),
        "layers": str(layers),
        "platform": str(root / "platform"),
        "build_config": str(root / "build-config"),
        "tmp": str(tmp),
        "result": str(tmp / "result.json"),
        "order": str(PACKS_DIR / "order.toml"),
        "buildpacks": [str(path.parent) for path in sorted(PACKS_DIR.glob("*/buildpack.toml"))],
        "cache": str(cache) if cache.is_dir() else "",
        "previous": list(previous),
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
                root, *([cache] if cache.is_dir() else []), *_named_folders(order.install_env),
            ],
            writable=[order.app_dir, layers, tmp, home, uv_cache],
            timeout_s=order.timeout_s,
            trusted=trusted,
            contained=contained,
        ),
    )  # fmt: skip


def _platform_env(values: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if _PLATFORM_NAME.fullmatch(name) and name not in _OURS}


def _write_env(folder: Path, values: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / name).write_text(value, encoding="utf-8", errors="surrogateescape")


def _proxies(install_env: Mapping[str, str]) -> dict[str, str]:
    return {name: install_env[name] for name in PROXIES if name in install_env}


def _for_container(install_env: Mapping[str, str], *, trusted: bool) -> dict[str, str]:
    """The operator's settings in a container: who runs it says which proxy leads out, and strangers see no password."""
    return {
        name: value if trusted else _CREDENTIALS.sub("://", value)
        for name, value in install_env.items()
        if name not in PROXIES
    }


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


def _compilers(order: BuildOrder) -> list[Path]:
    """Folders of the stack's unpacked files, from which its interpreter runs here."""
    return [Path(python.compiler_env["PYTHONHOME"]).parent for python in order.ground.pythons if python.compiler_env]
