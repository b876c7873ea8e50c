"""BP_APP_DIR: a folder of the repository is the app, as if it had been pushed alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from buildpacks.order import BuildFailed, BuildOrder

SETTING = "BP_APP_DIR"
_SHOWN = 20


def enter(order: BuildOrder, log: Callable[[str], None]) -> BuildOrder:
    """The order for the folder that the app's configuration names; unchanged without one.

    Raises  BuildFailed('app-dir-missing') for what is no folder of the repository; links are not followed
    """
    # As the tree names it: `./model` and `a//b` are the folders that big files are known by.
    folder = Path(order.platform_env.get(SETTING, "").strip().strip("/")).as_posix()
    if folder == ".":
        return order
    path = order.app_dir / folder
    if ".." in Path(folder).parts or not path.is_dir() or path.resolve() != order.app_dir.resolve() / folder:
        found = sorted(p.name for p in order.app_dir.iterdir() if p.is_dir() and not p.is_symlink())[:_SHOWN]
        raise BuildFailed("app-dir-missing", folder=folder, found=[*found] or ["no folders"])
    log(f"       The app is the folder that {SETTING} names: {folder}")
    start = f"{folder}/"
    inside = {p.removeprefix(start): big for p, big in order.big_files.items() if p.startswith(start)}
    return replace(order, app_dir=path, big_files=inside)
