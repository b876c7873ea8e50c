"""A kitchen without a server: trees become images in a state folder, by the real lifecycle and the real uv."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from buildpacks.build import build
from buildpacks.ground import HOST, Ground
from buildpacks.image.store import LayerStore
from buildpacks.lifecycle.launch import resolve
from buildpacks.order import BigFile, BuildFailed, BuildOrder, BuiltImage, Child, Json
from buildpacks.toolchain import find_toolchain, stand_in
from gitserver.settings import BUILD_ENV_NAMES

RUNTIME = Path(__file__).parents[2] / "runtime"
# The index settings of this machine, the names that the server itself would pass on.
INSTALL_ENV = {name: os.environ[name] for name in BUILD_ENV_NAMES if name in os.environ}


def run_plain(child: Child, log: Callable[[str], None]) -> int:
    """A Runner without isolation: the process alone, in exactly the environment that it asks for."""
    with subprocess.Popen(
        list(child.argv),
        env=dict(child.env),
        cwd=child.cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            log(line.rstrip("\n"))
        return process.wait(child.timeout_s)


@dataclass
class Kitchen:
    """A state folder in which trees become images; log is the last build's."""

    state: Path
    builds: int = 0
    log: list[str] = field(default_factory=list)
    first_log: str = ""
    children: list[Child] = field(default_factory=list)
    ground: Ground = HOST

    def build(
        self,
        files: Mapping[str, bytes | str],
        *,
        previous: BuiltImage | None = None,
        platform_env: Mapping[str, str] | None = None,
        install_env: Mapping[str, str] | None = None,
        big: Mapping[str, BigFile] | None = None,
        upgrade: bool = False,
    ) -> BuiltImage:
        self.builds += 1
        self.log.clear()
        app, work = (self.state / "builds" / str(self.builds) / name for name in ("tree", "work"))
        for path, data in files.items():
            target = app / path
            target.parent.mkdir(parents=True, exist_ok=True)
            content = data.encode() if isinstance(data, str) else data
            target.write_bytes(content)
            if content.startswith(b"#!"):
                target.chmod(0o755)
        for path, blob in (big or {}).items():
            target = app / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.hardlink_to(blob.host_path)
        app.mkdir(parents=True, exist_ok=True)
        work.mkdir()
        for folder in ("cache/apps/1", "cache/wheels"):
            (self.state / folder).mkdir(parents=True, exist_ok=True)
        order = BuildOrder(
            app_key="1", app_dir=app, work_dir=work, cache_dir=self.state / "cache/apps/1",
            wheel_dir=self.state / "cache/wheels", store_dir=self.state,
            previous=previous.config if previous else None, platform_env=platform_env or {},
            install_env={**INSTALL_ENV, **(install_env or {})}, runtime_dir=RUNTIME, big_files=big or {}, timeout_s=300,
            ground=self.ground, upgrade=upgrade,
        )  # fmt: skip

        def run(child: Child, log: Callable[[str], None]) -> int:
            self.children.append(child)
            return run_plain(child, log)

        try:
            return build(order, run, self.log.append)
        finally:
            shutil.rmtree(work)

    def failed(self, files: Mapping[str, bytes | str], **options: Mapping[str, str]) -> tuple[str, Mapping[str, Json]]:
        with pytest.raises(BuildFailed) as caught:
            self.build(files, platform_env=options.get("platform_env"), install_env=options.get("install_env"))
        return caught.value.code, caught.value.fields

    def image(self, built: BuiltImage) -> Path:
        """As the process target unpacks it, with an interpreter of this machine."""
        python = built.config["python"]
        assert isinstance(python, dict)
        interpreter = stand_in(str(python["version"]), find_toolchain().pythons)
        return LayerStore(root=self.state).compose(built.config, built.digest, interpreter)


def layers(built: BuiltImage) -> dict[tuple[str, str], str]:
    found = built.config["layers"]
    assert isinstance(found, list)
    return {(str(item["kind"]), str(item["path"])): str(item["diff_id"]) for item in found if isinstance(item, dict)}


def text(kitchen: Kitchen) -> str:
    return re.sub(r"[\d.]+ [kM]?B, [\d.]+ s", "SIZE, TIME", "\n".join(kitchen.log))


def run_in(kitchen: Kitchen, built: BuiltImage, *code: str) -> str:
    """Run the image's python with `code` as arguments, in the environment that the image gives."""
    image = kitchen.image(built)
    config = json.loads((image / "config.json").read_text())
    process = config["processes"][0] | {"command": ["python", *code], "args": []}
    ids = [pack["id"] for pack in config["buildpacks"]]
    argv, env = resolve(image / "layers", ids, process, {"PATH": "/usr/bin:/bin"})
    done = subprocess.run(argv, env=env, cwd=image / "app", capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
