"""Debian packages of an Aptfile as one layer, without root, for the build and for the app.

Rules of this file
1. The layer's key is the list of resolved packages with their versions; the same list is the same bytes.
2. A list that was resolved stays until the Aptfile changes or `algo redeploy --upgrade` asks anew.
3. Scripts of packages do not run. What they would have set up (alternatives, users, services) is not there.
"""

# ruff: noqa: PTH103, PTH112, PTH114, PTH115 -- no pathlib in buildpacks

from __future__ import annotations

import hashlib
import os
import shutil
import time

from buildpacks.packs.algo_apt.aptfile import MAX_BYTES, parse_aptfile
from buildpacks.packs.algo_apt.debian import STATUS, Apt, is_target_here
from buildpacks.packs.algo_python.install import size_of
from buildpacks.packs.cnb import PASS, Context, PackFailed, detail, human_size, step
from buildpacks.packs.toolchains.running import find_program, refuse_trusted
from buildpacks.packs.toolchains.starts import APTFILE

LAYOUT = "1"  # part of the key: layers laid out otherwise are made again
_SHOWN = 12
# Folders of Debian, and the variable that names them; {arch} is Debian's multiarch name.
_FOLDERS = {
    "PATH": ("usr/bin", "usr/sbin", "bin", "sbin", "usr/games"),
    "LD_LIBRARY_PATH": ("usr/lib/{arch}", "lib/{arch}", "usr/lib", "lib"),
    "LIBRARY_PATH": ("usr/lib/{arch}", "lib/{arch}", "usr/lib", "lib"),
    "CPATH": ("usr/include", "usr/include/{arch}"),
    "PKG_CONFIG_PATH": ("usr/lib/{arch}/pkgconfig", "usr/share/pkgconfig", "usr/lib/pkgconfig"),
    "GI_TYPELIB_PATH": ("usr/lib/{arch}/girepository-1.0",),
}


def build(context: Context) -> int:
    """Write the layer `packages` (launch, build, cache). Raises PackFailed: what parse_aptfile and Apt raise."""
    with open(f"{context.app}/{APTFILE}", "rb") as file:
        data = file.read(MAX_BYTES)
    wanted = parse_aptfile(data)
    asked = hashlib.sha256(repr([[line.package for line in wanted], LAYOUT, ground_of(context)]).encode()).hexdigest()
    layer, kept = f"{context.layers}/packages", context.restored("packages")
    if kept.get("asked") == asked and os.path.isdir(layer) and context.env.get("ALGO_UPGRADE") != "1":
        step(f"Aptfile: reused, unchanged ({human_size(int(str(kept['size'])))})")
        write_folders(context, "packages", layer)  # the kept ones name the folders of an image
        context.write_layer("packages", ["launch", "build", "cache"], kept)
        return PASS
    if not wanted:
        step("Aptfile: no packages in it")
        return PASS
    for program in ("apt-get", "dpkg-deb"):
        if find_program(program, context.env) is None or not os.path.exists(STATUS):
            raise PackFailed("apt-missing", program=program)
    if not is_target_here(context.env):
        refuse_trusted(context.env, "apt, of another Debian than this machine's,")
        raise PackFailed("apt-missing", program="apt-get of the stack's Debian")
    started_at = time.monotonic()
    apt = Apt(f"{context.env.get('TMPDIR') or context.layers}/apt", context.env)
    shutil.rmtree(apt.folder, ignore_errors=True)
    apt.prepare()
    apt.update()
    resolved = apt.resolve(wanted)
    shutil.rmtree(layer, ignore_errors=True)
    os.makedirs(layer)
    for archive in apt.download(wanted):
        apt.unpack(archive, layer)
    lead_inside(layer)
    shutil.rmtree(apt.folder)
    size_bytes = size_of(layer)
    names = ", ".join(name.split("_")[0] for name in resolved[:_SHOWN])
    more = f" and {len(resolved) - _SHOWN} more" if len(resolved) > _SHOWN else ""
    seconds = time.monotonic() - started_at
    step(f"Aptfile: unpacked {len(resolved)} packages ({human_size(size_bytes)}, {seconds:.1f} s)")
    detail(f"{names}{more}")
    write_folders(context, "packages", layer)
    context.write_layer(
        "packages", ["launch", "build", "cache"], {"asked": asked, "resolved": resolved, "size": size_bytes}
    )
    return PASS


def ground_of(context: Context) -> str:
    """What the packages are made for."""
    env = context.env
    return "/".join(env.get(f"CNB_TARGET_{name}", "") for name in ("DISTRO_NAME", "DISTRO_VERSION", "ARCH"))


def lead_inside(layer: str) -> None:
    """Links to absolute paths lead to where the same file lies in this layer, when it lies there."""
    for here, folders, files in os.walk(layer):
        for name in (*folders, *files):
            path = f"{here}/{name}"
            if not os.path.islink(path):
                continue
            target = os.readlink(path)
            if target.startswith("/") and os.path.lexists(f"{layer}{target}"):
                os.unlink(path)  # noqa: PTH108 -- no pathlib in buildpacks
                os.symlink(os.path.relpath(f"{layer}{target}", here), path)  # noqa: PTH211 -- no pathlib in buildpacks


def write_folders(context: Context, name: str, layer: str) -> None:
    """The layer's folders on the path variables, behind what was there: nothing of the base is hidden by them."""
    arch = arch_of(layer)
    found: dict[str, list[str]] = {}
    for variable, folders in _FOLDERS.items():
        for folder in folders:
            path = f"{layer}/{folder.format(arch=arch)}"
            if "//" not in path and os.path.isdir(path):
                found.setdefault(variable, []).append(path)
    extra = _library_folders(layer, arch)
    if extra:
        found.setdefault("LD_LIBRARY_PATH", []).extend(extra)
    for variable, paths in found.items():
        context.write_env(name, "env", f"{variable}.append", ":".join(paths))
        context.write_env(name, "env", f"{variable}.delim", ":")


def arch_of(layer: str) -> str:
    """Debian's multiarch name of what a layer holds, `x86_64-linux-gnu`; '' when it holds no library."""
    if not os.path.isdir(f"{layer}/usr/lib"):
        return ""
    return next((name for name in sorted(os.listdir(f"{layer}/usr/lib")) if name.endswith("-linux-gnu")), "")


def _library_folders(layer: str, arch: str) -> list[str]:
    """Folders one deeper that Debian leads to by alternatives, which no script has made here: BLAS, LAPACK."""
    folder = f"{layer}/usr/lib/{arch}"
    if not arch or not os.path.isdir(folder):
        return []
    return [
        f"{folder}/{name}" for name in ("blas", "lapack", "openblas-pthread", "pulseaudio")
        if os.path.isdir(f"{folder}/{name}")
    ]  # fmt: skip
