"""A house with buildpacks, in which the lifecycle runs as the kitchen starts it: by path, isolated, with a job file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

LIFECYCLE = Path(__file__).parents[2] / "buildpacks" / "lifecycle" / "__main__.py"
PATH = "/usr/bin:/bin"


class House:
    """A folder with buildpacks, an application and everything else that a job names."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.packs: list[Path] = []
        self.order_tail = ""  # further lines of order.toml
        for name in ("app", "layers", "platform/env", "build-config/env", "tmp"):
            (root / name).mkdir(parents=True)

    def add(self, folder: Path) -> None:
        """A buildpack that is there already."""
        self.packs.append(folder)

    def pack(
        self, name: str, *, detect: str = "exit 0", build: str = "exit 0", head: str = "", api: str = "0.10"
    ) -> None:
        """A buildpack t/<name> with these scripts."""
        folder = self.root / "packs" / name
        (folder / "bin").mkdir(parents=True)
        (folder / "buildpack.toml").write_text(
            f'api = "{api}"\n[buildpack]\nid = "t/{name}"\nversion = "1.0.0"\n{head}'
        )
        for phase, text in (("detect", detect), ("build", build)):
            script = folder / "bin" / phase
            script.write_text(f"#!/bin/sh\nset -eu\n{text}\n")
            script.chmod(0o755)
        self.packs.append(folder)

    def run(
        self, *groups: str, previous: Sequence[Mapping[str, object]] = (), cache: str = "", **more: object
    ) -> tuple[int, dict[str, object], str]:
        """Groups like 'a b?': names, a question mark for optional. Returns status, result document, output.

        more  further fields of the job: detect_timeout_s, timeout_s, sboms, exec_env, ...
        """
        lines = []
        for group in groups:
            lines.append("[[order]]")
            for name in group.split():
                lines += [
                    "[[order.group]]",
                    f'id = "{_id(name)}"',
                    f"optional = {str(name.endswith('?')).lower()}",
                ]
        (self.root / "order.toml").write_text("\n".join([*lines, self.order_tail]))
        job = {
            "app": str(self.root / "app"), "layers": str(self.root / "layers"), "platform": str(self.root / "platform"),
            "build_config": str(self.root / "build-config"), "tmp": str(self.root / "tmp"),
            "result": str(self.root / "result.json"), "order": str(self.root / "order.toml"),
            "buildpacks": [str(path) for path in self.packs], "cache": cache, "previous": list(previous),
            "env": {"PATH": PATH, "HOME": "/nonexistent", "CNB_STACK_ID": "s", "PYTHONPATH": "/poison"},
            "target": {"os": "linux", "arch": "amd64", "distro": "debian", "distro_version": "12"},
            **more,
        }  # fmt: skip
        (self.root / "job.json").write_text(json.dumps(job))
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(LIFECYCLE), str(self.root / "job.json")],
            env={"PATH": PATH, "LEAK": "x"}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done.returncode, json.loads((self.root / "result.json").read_text()), done.stdout + done.stderr

    def ok(
        self, *groups: str, previous: Sequence[Mapping[str, object]] = (), cache: str = "", **more: object
    ) -> dict[str, object]:
        """The result document of a run that must succeed."""
        status, document, output = self.run(*groups, previous=previous, cache=cache, **more)
        assert status == 0, (document, output)
        result = document["ok"]
        assert isinstance(result, dict)
        return result

    def failure(self, *groups: str, **more: object) -> tuple[int, str, dict[str, object]]:
        """Status, code and fields of a run that must fail."""
        status, document, _ = self.run(*groups, **more)  # type: ignore[arg-type]  # further fields of the job
        failure = document["failure"]
        assert isinstance(failure, dict)
        return status, failure["code"], failure["fields"]

    def read(self, path: str) -> str:
        """A file below the house."""
        return (self.root / path).read_text()


def _id(name: str) -> str:
    name = name.rstrip("?")
    return name if "/" in name else f"t/{name}"


def packs_of(result: Mapping[str, object]) -> list[dict[str, object]]:
    """`buildpacks` of a result document."""
    packs = result["buildpacks"]
    assert isinstance(packs, list)
    return packs


def ids(result: Mapping[str, object]) -> list[str]:
    """Which buildpacks built."""
    return [str(pack["key"]) for pack in packs_of(result)]


def layer_record(sha: str, *, launch: bool, build: bool, cache: bool) -> dict[str, object]:
    """A layer in a previous image's metadata."""
    return {"sha": sha, "launch": launch, "build": build, "cache": cache, "data": {"v": sha}}


def previous(**layers: dict[str, object]) -> list[dict[str, object]]:
    """The previous image's metadata of t/a."""
    return [{"key": "t/a", "version": "1.0.0", "store": {"metadata": {"kept": "yes"}}, "layers": layers}]
