"""A platform of the tests: the third-party buildpacks of tests/packs, our lifecycle, our exporter, and processes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from buildpacks.export import export, previous_packs
from buildpacks.ground import HOST
from buildpacks.image.store import LayerStore
from buildpacks.kitchen import Workshop
from buildpacks.launch_layers import previous_exec_env, previous_sboms
from buildpacks.lifecycle.launch import resolve
from buildpacks.order import BuildOrder, BuiltImage, Child, Json
from buildpacks.result import read_result
from tests.contract.lifecycle_house import PATH, House

PACKS = Path(__file__).parents[1] / "packs"


@dataclass
class Platform:
    """One app: each build starts from its files, with what the last one left."""

    root: Path
    packs: Sequence[Path] = tuple(PACKS / name for name in ("tools", "server", "shell", "all"))
    files: dict[str, str] = field(default_factory=lambda: {"plain.txt": "plain", "sub/x": ""})
    built: BuiltImage | None = None
    builds: int = 0
    log: str = ""

    def house(self) -> House:
        """The folders of the next build."""
        self.builds += 1
        house = House(self.root / f"build-{self.builds}")
        house.packs = [*self.packs]
        for path, text in self.files.items():
            target = house.root / "app" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        return house

    def build(self, *groups: str, house: House | None = None, **job: object) -> BuiltImage:
        """Build and export."""
        house = house or self.house()
        previous = None if self.built is None else self.built.config
        sboms = previous_sboms(previous, self.store)
        cache = self.root / "cache" / "layers"
        settings: dict[str, object] = {
            "sboms": str(sboms or ""), "previous_exec_env": previous_exec_env(previous), **job,
        }  # fmt: skip
        packs: list[Mapping[str, object]] = [*previous_packs(previous)]
        status, document, self.log = house.run(
            *groups, previous=packs, cache=str(cache) if cache.is_dir() else "", **settings
        )
        assert status == 0, (document, self.log)
        self.built = self.export(house, previous)
        return self.built

    def export(self, house: House, previous: Mapping[str, Json] | None = None) -> BuiltImage:
        """The image of what a lifecycle left in a house."""
        work = house.root / "work"
        work.mkdir()
        (self.root / "cache").mkdir(exist_ok=True)
        child = Child(argv=[], env={}, cwd=work, readable=[], writable=[], timeout_s=1, trusted=False)
        order = BuildOrder(
            app_key="1", app_dir=house.root / "app", work_dir=work, cache_dir=self.root / "cache",
            wheel_dir=self.root / "wheels", store_dir=self.root, previous=previous, platform_env={}, install_env={},
            runtime_dir=work, big_files={}, timeout_s=60, ground=HOST,
        )  # fmt: skip
        workshop = Workshop(layers=house.root / "layers", result=house.root / "result.json", child=child)
        return export(order, workshop, read_result(workshop.result, 0))

    @property
    def store(self) -> LayerStore:
        """Where the layers lie."""
        return LayerStore(root=self.root)

    def command(
        self, kind: str, *, user_args: Sequence[str] | None = None, **env: str
    ) -> tuple[list[str], dict[str, str], Path]:
        """Argument list, environment and working folder of a process of the last image, on this machine."""
        assert self.built is not None
        image = self.store.compose(self.built.config, self.built.digest)
        process = process_of(self.built, kind)
        ids = [str(pack["id"]) for pack in tables(self.built, "buildpacks")]
        argv, given = resolve(image / "layers", ids, process, {"PATH": PATH, **env}, user_args=user_args)
        folder = str(process["working-dir"]).removeprefix("/workspace").lstrip("/")
        return argv, given, image / "app" / folder

    def run(self, kind: str, *, user_args: Sequence[str] | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a process of the last image to its end."""
        argv, given, folder = self.command(kind, user_args=user_args, **env)
        return subprocess.run(argv, env=given, cwd=folder, capture_output=True, text=True, timeout=60, check=False)

    def forget_cache(self) -> None:
        """As a server that was moved without its caches."""
        shutil.rmtree(self.root / "cache", ignore_errors=True)


def tables(built: BuiltImage, name: str) -> list[dict[str, Json]]:
    """A list of tables in an image's document."""
    found = built.config[name]
    assert isinstance(found, list)
    return [item for item in found if isinstance(item, dict)]


def process_of(built: BuiltImage, kind: str) -> dict[str, Json]:
    """A process type of an image."""
    return next(process for process in tables(built, "processes") if process["type"] == kind)


def layers_of(built: BuiltImage) -> dict[str, str]:
    """Path -> diff id of the image's layers, bottom to top."""
    return {str(layer["path"] or layer["kind"]): str(layer["diff_id"]) for layer in tables(built, "layers")}


def names_in(folder: Path) -> list[str]:
    """Every path below a folder, sorted."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or os.listdir(path))
