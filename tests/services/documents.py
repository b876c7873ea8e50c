"""Image documents for tests: a small base of one file, layers of ours over it, both in real stores on disk."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from buildpacks.image.store import LayerStore
from buildpacks.image.tar import Digest, memory_layer
from buildpacks.image.values import LAYER, LAYER_GZIP, Blob
from buildpacks.order import Json
from buildpacks.stack.values import BaseImage, BaseLayer

LOCK = """\
joblib==1.4.2 \\
    --hash=sha256:06d478d5674cbc267e7496a410ee875abd68e4340feff4490bcb7afb88060ae6 \\
    --hash=sha256:2382c5816b2636fbd20a09e0f4e9dad4736765fdfb7dca582943b9c1366b3f0e
threadpoolctl==3.5.0+local ; python_version >= "3.9" \\
    --hash=sha256:56c1e26c150397e58c4926da8eeee87533b1e32bef131bd4bf6a2f45f3185467
Own_Package @ git+ssh://git@forge.example/team/own@0123456789abcdef0123456789abcdef01234567
"""


@dataclass(frozen=True, kw_only=True)
class OneBase:
    """A stack store with one run image in it."""

    base: BaseImage
    folder: Path

    def image(self, image_id: str) -> BaseImage | None:
        """Its only one, by id."""
        return self.base if image_id == self.base.image_id else None

    def blob_path(self, digest: str) -> Path:
        """Where blobs lie."""
        return self.folder / digest.removeprefix("sha256:")


def make_base(folder: Path, *, is_gzip: bool = False, labels: Mapping[str, str] | None = None) -> OneBase:
    """A base image of one layer with one file."""
    tar = memory_layer("etc", {"os-release": b'ID=debian\nVERSION_ID="12"\n'})
    data = gzip.compress(tar, mtime=0) if is_gzip else tar
    blob = Blob(digest=_sha256(data), size_bytes=len(data), media_type=LAYER_GZIP if is_gzip else LAYER)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / blob.digest.removeprefix("sha256:")).write_bytes(data)
    config: dict[str, Json] = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Env": ["PATH=/usr/bin:/bin", "LANG=C.UTF-8"],
            "Labels": {
                "io.buildpacks.base.distro.name": "debian",
                "io.buildpacks.base.distro.version": "12",
                **(labels or {}),
            },
        },
    }
    base = BaseImage(
        reference="algo/bookworm-run:1", image_id=f"sha256:{'1' * 64}", manifest_digest=f"sha256:{'2' * 64}",
        config=config, layers=(BaseLayer(diff_id=_sha256(tar), blob=blob),),
    )  # fmt: skip
    return OneBase(base=base, folder=folder)


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """A layer store, and documents of what was sealed into it."""

    layers: LayerStore
    stacks: OneBase

    def seal(self, kind: str, path: str, files: Mapping[str, bytes]) -> dict[str, Json]:
        """A layer entry of a document."""
        name = hashlib.sha256(repr((kind, path, sorted(files.items()))).encode()).hexdigest()
        source = self.layers.root / "sources" / name
        source.mkdir(parents=True)
        for file, data in files.items():
            (source / file).parent.mkdir(parents=True, exist_ok=True)
            (source / file).write_bytes(data)
        digest: Digest = self.layers.seal(source, f"layers/{path}" if kind == "layer" else "workspace")
        return {
            "diff_id": digest.diff_id, "kind": kind, "path": path,
            "size_bytes": digest.size_bytes, "tar_bytes": digest.tar_bytes,
        }  # fmt: skip

    def document(self, code: bytes = b"print()\n", /, **changes: Json) -> dict[str, Json]:
        """An application of one file over a dependency layer and a model."""
        deps = self.seal("layer", "algo_python/deps", {"lib/module.py": b"VALUE = 1\n" * 1000})
        model = self.seal("slice", "model/iris.joblib", {"model/iris.joblib": b"\x80\x04weights" * 100})
        app = self.seal("app", "", {"predict.py": code})
        base = self.stacks.base
        data: dict[str, Json] = {"lock": LOCK * 4, "python": "3.11.2"}
        return {
            "base": base.reference,
            "stack": {
                "name": "bookworm", "reference": base.reference, "image_id": base.image_id,
                "manifest_digest": base.manifest_digest, "diff_ids": [layer.diff_id for layer in base.layers],
                "libc": "glibc 2.36", "config": dict(base.config),
            },
            "python": {"version": "3.11.2", "path": "/usr/bin/python3.11"},
            "layers": [deps, model, app],
            "launch": {
                "argv": ["python", "-P", "-m", "_gitserver_runtime"],
                "env": {"PATH": "/layers/algo_python/deps/bin:/usr/bin:/bin", "ALGO_SERVE": "{}"},
                "cwd": "/workspace",
            },
            "processes": [{"type": "web", "command": ["python"], "args": ["-m", "x"], "default": True}],
            "buildpacks": [{"id": "algo/python", "version": "1.0.0", "api": "0.11"}],
            "labels": {"team": "iris"},
            "model": {
                "serve": {"kind": "model-file"},
                "facts": {
                    "path": "model/iris.joblib", "framework": "sklearn", "kind": "pickle", "version": "1.5.2",
                    "size": 900,
                },
            },
            "lifecycle": {
                "buildpacks": [
                    {
                        "key": "algo/python", "version": "1.0.0", "api": "0.11", "store": {},
                        "layers": {
                            "deps": {
                                "sha": deps["diff_id"], "data": data, "size_bytes": 10000,
                                "launch": True, "build": False, "cache": False,
                            }
                        },
                    }
                ]
            },
            "host_paths": [],
            **changes,
        }  # fmt: skip


def make_shelf(folder: Path, *, is_gzip: bool = False, labels: Mapping[str, str] | None = None) -> Shelf:
    """Both stores below one folder."""
    stacks = make_base(folder / "stacks", is_gzip=is_gzip, labels=labels)
    return Shelf(layers=LayerStore(root=folder / "state"), stacks=stacks)


def _sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
