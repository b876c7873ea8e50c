"""Chosen buildpacks laid out for one attempt: copies that it may write, wrappers around classic ones, an order.

Why copies  classic buildpacks write into their own folder; what lies in the store is shared by every app
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from buildpacks.choosing.bring import Chosen
from buildpacks.choosing.packs import Pack
from buildpacks.choosing.values import Terms
from buildpacks.lifecycle.toml_writer import render_toml
from buildpacks.toolchain import BUILDPACKS_DIR

CLASSIC_API = "0.8"  # the newest in which a process is started by bash, which is what sources .profile.d
CLASSIC_HOME = "/app"
_WRAPPER = BUILDPACKS_DIR / "packs" / "classic" / "bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """An attempt's own buildpacks.

    order        order.toml
    directories  of buildpacks, beside this server's own: `buildpacks/<id>/<version>` below folder, `/` of an id as `_`
    env          for the build's own environment
    folder       holds them all; the attempt may write it
    places       path that must exist in the sandbox -> empty folder that stands for it
    """

    order: Path
    directories: tuple[Path, ...]
    env: Mapping[str, str]
    folder: Path
    places: Mapping[str, Path]


def lay_out(chosen: Chosen, root: Path, terms: Terms) -> Laid:
    """Write a choice below root, which is the attempt's."""
    folder = root / "packs"
    folder.mkdir()
    order = folder / "order.toml"
    order.write_text(chosen.render_order(), encoding="utf-8")
    directories = []
    for pack in chosen.packs:
        target = folder / "buildpacks" / pack.id.replace("/", "_") / pack.version
        target.parent.mkdir(parents=True, exist_ok=True)
        if pack.is_classic:
            _wrap(pack, target)
        else:
            shutil.copytree(pack.folder, target, symlinks=True)
        directories.append(target)
    if not chosen.is_classic:
        return Laid(order=order, directories=tuple(directories), env={}, folder=folder, places={})
    env_dir, slash_app = folder / "env", folder / "slash-app"
    env_dir.mkdir()
    slash_app.mkdir()
    for name, value in terms.config_env.items():
        (env_dir / name).write_text(value, encoding="utf-8", errors="surrogateescape")
    env = {
        "ALGO_CLASSIC_ENV_DIR": str(env_dir),
        "ALGO_CLASSIC_SOURCE_VERSION": terms.commit,
        "ALGO_CLASSIC_REQUEST_ID": terms.request_id,
    }
    return Laid(order=order, directories=tuple(directories), env=env, folder=folder, places={CLASSIC_HOME: slash_app})


def _wrap(pack: Pack, target: Path) -> None:
    """A buildpack of the specification around a classic one, which lies in its folder `pack`."""
    target.mkdir()
    head = {"id": pack.id, "version": pack.version, "name": pack.id.rpartition("/")[2]}
    (target / "buildpack.toml").write_text(
        render_toml({"api": CLASSIC_API, "buildpack": head, "stacks": [{"id": "*"}]}), encoding="utf-8"
    )
    (target / "bin").mkdir()
    for name in ("detect", "build"):
        (target / "bin" / name).symlink_to(_WRAPPER / name)
    shutil.copytree(pack.folder, target / "pack", symlinks=True)
