"""What an image's layers are made for: this machine, or a stack's run image; and who makes them.

Installing wheels executes none of their code, so it may happen on this machine for another Python's place: uv is told
version and platform, and only asks a Python of this machine with the same minor version for its folder names. Byte-code
is compiled by the stack's own interpreter, run from its unpacked files, so that it is the same on every machine.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildpacks.order import BuildFailed, Json
from buildpacks.stack.values import BaseImage, Stack
from buildpacks.toolchain import Toolchain, host_arch, minor_of

IMAGE_PYTHON = "/usr/bin/python3."  # where an interpreter lies in an image that is made without a stack
_GLIBC = re.compile(r"glibc (\d+)\.(\d+)")
_UV_ARCH = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundPython:
    """One interpreter that layers can be made for.

    version, path  in the image
    host           a Python of this machine that stands in for it when uv asks; None: only a build container has one
    compiler       argument list and environment that run the interpreter itself; empty: host does
    """

    version: str
    path: str
    host: Path | None
    compiler: Sequence[str]
    compiler_env: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Everything about the place that layers are made for.

    stack      None: this machine
    pythons    of the stack; empty for this machine, whose Pythons the buildpack asks itself
    platform   uv's name of the stack's platform, `x86_64-manylinux_2_36`; '' for this machine
    """

    stack: Stack | None
    pythons: Sequence[GroundPython]
    platform: str

    @property
    def needs_container(self) -> bool:
        """No Python of this machine can stand in for the stack's newest."""
        return self.stack is not None and (not self.pythons or self.pythons[0].host is None)

    def target(self) -> dict[str, str]:
        """os, arch and distribution, as buildpacks are told."""
        if self.stack is None:
            return {"os": "linux", "arch": host_arch(), **_distro_here()}
        return {
            "os": "linux", "arch": self.stack.arch, "distro": self.stack.distro,
            "distro_version": self.stack.distro_version,
        }  # fmt: skip

    @property
    def stack_id(self) -> str:
        """CNB_STACK_ID."""
        return "algo.host" if self.stack is None else f"algo.{self.stack.name}"

    def document(self) -> dict[str, Json]:
        """What the image's document says of its base."""
        if self.stack is None:
            return {"base": "host", "stack": None, "host": {"arch": host_arch(), "libc": libc_here()}}
        return {"base": self.stack.run.reference, "stack": stack_document(self.stack)}

    def in_container(self) -> str:
        """ALGO_GROUND for a child in the build container: each interpreter is where it will be."""
        return json.dumps([
            {"version": python.version, "path": python.path, "host": python.path, "compiler": [], "env": {}}
            for python in self.pythons
        ])  # fmt: skip

    def on_this_machine(self) -> str:
        """ALGO_GROUND for a child on this machine: only interpreters that have a stand-in; '' without a stack."""
        if self.stack is None:
            return ""
        return json.dumps([
            {"version": python.version, "path": python.path, "host": str(python.host),
             "compiler": list(python.compiler), "env": dict(python.compiler_env)}
            for python in self.pythons if python.host is not None
        ])  # fmt: skip


HOST = Ground(stack=None, pythons=(), platform="")


def stack_ground(stack: Stack, rootfs: Path, tools: Toolchain) -> Ground:
    """The ground of a stack whose run image lies unpacked at rootfs.

    Raises  BuildFailed('stack-wrong-arch') for a stack of other machines
    """
    from buildpacks.stack.probe import stack_python

    if stack.arch != host_arch():
        raise BuildFailed(
            "stack-wrong-arch", reference=stack.run.reference, found=f"linux/{stack.arch}",
            expected=f"linux/{host_arch()}",
        )  # fmt: skip
    pythons = []
    for python in stack.pythons:
        own = stack_python(rootfs, python)
        host = next((path for path in tools.pythons if minor_of(path) == python.version.split(".")[1]), None)
        pythons.append(
            GroundPython(version=python.version, path=python.path, host=host, compiler=own.argv, compiler_env=own.env)
        )
    return Ground(stack=stack, pythons=pythons, platform=uv_platform(stack))


def uv_platform(stack: Stack) -> str:
    """`x86_64-manylinux_2_36` of a stack with glibc 2.36; musl stacks have one name."""
    arch = _UV_ARCH.get(stack.arch, stack.arch)
    match = _GLIBC.fullmatch(stack.libc)
    return f"{arch}-manylinux_{match[1]}_{match[2]}" if match is not None else f"{arch}-unknown-linux-musl"


def stack_document(stack: Stack) -> dict[str, Json]:
    """The part of a stack that an image's document must hold to be whole."""
    return {"name": stack.name, "libc": stack.libc, **_base_document(stack.run)}


def _base_document(image: BaseImage) -> dict[str, Json]:
    config = image.config.get("config")
    kept = config if isinstance(config, dict) else {}
    platform_keys = ("architecture", "os", "variant")
    return {
        "reference": image.reference,
        "image_id": image.image_id,
        "manifest_digest": image.manifest_digest,
        "diff_ids": [layer.diff_id for layer in image.layers],
        "config": {
            **{key: image.config[key] for key in platform_keys if key in image.config},
            "config": {"Env": kept.get("Env") or [], "Labels": kept.get("Labels") or {}},
        },
    }


def libc_here() -> str:
    """`glibc 2.36`; '' for another C library. Source: confstr(3), _CS_GNU_LIBC_VERSION."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return ""


def _distro_here() -> dict[str, str]:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return {}
    return {"distro": release.get("ID", ""), "distro_version": release.get("VERSION_ID", "")}
