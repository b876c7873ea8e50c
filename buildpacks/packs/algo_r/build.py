"""R and the packages of an app from Debian, and the process that serves it. Nothing of the app runs here.

Rules of this file
1. R and packages that are here, on this machine or in the stack, are used where they are all there.
2. Else everything comes from Debian, in one layer: compiled packages hold to the R that they were made with.
3. Debian's R has its folders compiled into shell scripts; in the layer they follow R_HOME.
"""

# ruff: noqa: PTH112, PTH113, PTH114 -- no pathlib in buildpacks

from __future__ import annotations

import os
import re

from buildpacks.packs.algo_apt.build import arch_of
from buildpacks.packs.algo_r.needs import debian_name, locked_versions, needed_packages
from buildpacks.packs.algo_r.starting import packages_of
from buildpacks.packs.cnb import PASS, Context, PackFailed, detail, step, warn
from buildpacks.packs.toolchains.debian_layer import Debian, kept_packages, make_layer
from buildpacks.packs.toolchains.running import find_program, is_where_it_runs, passed, version_of
from buildpacks.packs.toolchains.starts import read_start, start_process

LAYER, CORE = "r", "r-base-core"
_LIBRARIES = (
    "/usr/lib/R/library",
    "/usr/lib/R/site-library",
    "/usr/local/lib/R/site-library",
    "/usr/local/lib/R/library",
)
_SHOWN = 8


def build(context: Context) -> int:
    """Write the layer `r`, and launch.toml. Raises PackFailed: r-packages, renv-lock, toolchain-missing."""
    start = read_start(context, "r")
    needed = sorted({*needed_packages(context.app), *packages_of(start)})
    locked = locked_versions(context.app)
    here = find_program("Rscript", context.env) if is_where_it_runs(context.env) else None
    if here is not None and all(_is_here(name) for name in needed):
        found, why, versions = version_of([here, "--version"], passed(context.env)), "the build's own", dict[str, str]()
    else:
        layer, versions = _from_debian(context, needed)
        program = f"{layer}/usr/bin/Rscript"
        found, why = version_of([program, "--version"], {**passed(context.env), **_variables(layer)}), "from Debian"
    step(f"R {'.'.join(map(str, found))} ({why})")
    if needed:
        detail(f"Packages: {', '.join(f'{name} {versions[name]}' if name in versions else name for name in needed)}")
    if start is not None:
        detail(f"Web app: {start.why}; started by: {' '.join(start.command)}")
    _warn_of_others(locked, versions)
    start_process(context, start)
    return PASS


def _from_debian(context: Context, needed: list[str]) -> tuple[str, dict[str, str]]:
    """The layer, and the versions of R packages in it."""
    debian = Debian(context, "R", CORE)
    packages = [CORE, *(debian_name(name) for name in needed)]
    if kept_packages(context, LAYER) != sorted(packages):
        has = debian.candidates(packages)
        missing = [name for name in needed if debian_name(name) not in has]
        if missing:
            count = sum(debian_name(name) in has for name in needed)
            raise PackFailed("r-packages", missing=missing, found=str(count) if count else "none")
    layer = make_layer(context, LAYER, packages, debian, mend_programs)
    debian.close()
    for name, value in _variables(layer).items():
        context.write_env(LAYER, "env", f"{name}.{'prepend' if name == 'LD_LIBRARY_PATH' else 'override'}", value)
    return layer, {name: _version_in(layer, name) for name in needed}


def mend_programs(layer: str) -> None:
    """Let R's shell scripts in a layer follow R_HOME, and put its settings where a script of the package would."""
    for path in (f"{layer}/usr/bin/R", f"{layer}/usr/lib/R/bin/R"):
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        with open(path, encoding="utf-8") as file:
            text = file.read()
        text = text.replace("R_HOME_DIR=/usr/lib/R\n", 'R_HOME_DIR="${R_HOME}"\n')
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace("=/usr/share/R/", "=${R_HOME%/lib/R}/share/R/"))
    settings = f"{layer}/usr/lib/R/etc/Renviron"
    if os.path.isfile(f"{settings}.ucf") and not os.path.isfile(settings):
        if os.path.islink(settings):
            os.unlink(settings)  # noqa: PTH108 -- no pathlib in buildpacks
        os.symlink("Renviron.ucf", settings)  # noqa: PTH211 -- no pathlib in buildpacks


def _variables(layer: str) -> dict[str, str]:
    """What leads R to a layer. Source: the wrapper script R, and `?Rscript` (RHOME)."""
    home, arch = f"{layer}/usr/lib/R", arch_of(layer)
    libraries = [f"{home}/lib", *(f"{layer}/usr/lib/{arch}{name}" for name in ("", "/blas", "/lapack"))]
    return {
        "R_HOME": home, "RHOME": home, "R_LIBS_SITE": f"{home}/site-library",
        "LD_LIBRARY_PATH": ":".join(path for path in libraries if os.path.isdir(path)),
    }  # fmt: skip


def _is_here(package: str) -> bool:
    return any(os.path.isfile(f"{folder}/{package}/DESCRIPTION") for folder in _LIBRARIES)


def _version_in(layer: str, package: str) -> str:
    for folder in ("site-library", "library"):
        path = f"{layer}/usr/lib/R/{folder}/{package}/DESCRIPTION"
        if os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                found = re.search(r"^Version:\s*(\S+)", file.read(), re.MULTILINE)
            return found[1] if found is not None else ""
    return ""


def _warn_of_others(locked: dict[str, str], versions: dict[str, str]) -> None:
    others = [f"{name} {locked[name]} ({versions[name]})" for name in sorted(versions) if name in locked
              and versions[name] and re.split("[-.]", versions[name]) != re.split("[-.]", locked[name])]  # fmt: skip
    if others:
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        warn(f"renv.lock names other versions than Debian has: {', '.join(others[:_SHOWN])}{more}")
