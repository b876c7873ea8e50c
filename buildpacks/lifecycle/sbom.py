"""Bills of materials that buildpacks write: `<layer>.sbom.<ext>`, `launch.sbom.<ext>`, `build.sbom.<ext>`.

Only names are looked at here; what stands in them is for whoever reads the image.

Source  buildpacks/spec buildpack.md 0.12, "Software-Bill-of-Materials"; contracts 1.4 and 1.6
"""

# os.path: importing pathlib would be a fifth of the life of such a short process.
# ruff: noqa: PTH113

from __future__ import annotations

import os
from collections.abc import Collection

from buildpacks.lifecycle.descriptor import Buildpack
from buildpacks.lifecycle.failure import ExitCode, LifecycleError

FORMATS = {
    "sbom.cdx.json": "application/vnd.cyclonedx+json",
    "sbom.spdx.json": "application/spdx+json",
    "sbom.syft.json": "application/vnd.syft+json",
}
SBOM_LAYER = "sbom/launch"  # platform.md 0.9: <layers>/sbom/launch/<buildpack>/[<layer>/]sbom.<ext>
MAX_SBOM_BYTES = 64 << 20
_OF_PHASE = frozenset({"launch", "build"})


def find_sboms(pack: Buildpack, folder: str, layers: Collection[str]) -> tuple[tuple[str, str], ...]:
    """(layer name, `launch` or `build`; file ending) of each SBOM in a buildpack's folder, sorted.

    Raises  LifecycleError 52 for a format that buildpack.toml does not declare, a layer that is not there, a link
    """
    found = []
    declared = {media_type.partition(";")[0].strip() for media_type in pack.sbom_formats}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        for ending, media_type in FORMATS.items():
            name = entry.name.removesuffix(f".{ending}")
            if name == entry.name:
                continue
            if media_type not in declared:
                raise _bad(pack, entry.name, f"buildpack.toml does not declare {media_type} in sbom-formats")
            if name not in layers and name not in _OF_PHASE:
                raise _bad(pack, entry.name, f"there is no layer {name}")
            if not entry.is_file(follow_symlinks=False) or entry.stat().st_size > MAX_SBOM_BYTES:
                raise _bad(pack, entry.name, f"it is no plain file of at most {MAX_SBOM_BYTES} bytes")
            found.append((name, ending))
    return tuple(found)


def restore_sboms(source: str, folder: str, layer: str) -> None:
    """Copy a layer's SBOMs from <source>/sbom.<ext> to <folder>/<layer>.sbom.<ext>; none there: no-op."""
    for ending in FORMATS:
        path = os.path.join(source, ending)
        if os.path.isfile(path):
            import shutil  # late: few buildpacks write any

            shutil.copyfile(path, os.path.join(folder, f"{layer}.{ending}"))


def _bad(pack: Buildpack, file: str, message: str) -> LifecycleError:
    return LifecycleError(ExitCode.BUILD, "buildpack-bad", file=f"{pack.id}: {file}", message=message)
