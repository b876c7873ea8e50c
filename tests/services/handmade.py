"""Images made by hand for tests of engines: real programs of this machine in a base layer, anything on top."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from buildpacks.image.values import ImageLayer, OutboundImage
from buildpacks.image.verified import verified

PROGRAMS = ("sh", "sleep", "cat", "echo", "ls", "id", "head", "tail")
_ARCHES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass
class Reads:
    """Which layers were read, by title, in order."""

    titles: list[str] = field(default_factory=list)


def layer(
    title: str, files: Mapping[str, bytes], reads: Reads | None = None, *, damage: bool = False, kind: str = "layer"
) -> ImageLayer:
    """A layer of these files. reads: where each reading of it is noted; damage: its bytes are not what they were."""
    return layer_of(title, tar_of(files), reads, damage=damage, kind=kind)


def layer_of(
    title: str, data: bytes, reads: Reads | None = None, *, damage: bool = False, kind: str = "layer"
) -> ImageLayer:
    """A layer of this tar."""
    diff_id = f"sha256:{hashlib.sha256(data).hexdigest()}"
    contents = data[:600] + b"\xff" + data[601:] if damage else data

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(contents), 1 << 16):
            yield contents[start : start + (1 << 16)]

    def read() -> Iterator[bytes]:
        if reads is not None:
            reads.titles.append(title)
        return verified(chunks, diff_id, title)

    return ImageLayer(diff_id=diff_id, tar_bytes=len(data), kind=kind, title=title, read=read)


def image(
    layers: Sequence[ImageLayer], *, labels: Mapping[str, str] | None = None, config: Mapping[str, object] | None = None
) -> OutboundImage:
    """The image of these layers, bottom to top, with our label on it."""
    document = {
        "architecture": _ARCHES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "created": "1980-01-01T00:00:01Z",
        "config": {
            "Env": ["PATH=/usr/bin:/bin"],
            "Labels": {"algo.image": "1", **(labels or {})},
            **(config or {}),
        },
        "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in layers]},
        "history": [{"created": "1980-01-01T00:00:01Z", "created_by": one.title} for one in layers],
    }
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return OutboundImage(
        image_id=f"sha256:{hashlib.sha256(data).hexdigest()}", config=data, layers=tuple(layers), annotations={}
    )


def base(reads: Reads | None = None) -> ImageLayer:
    """A few programs of this machine and the libraries that they need, some megabytes."""
    return layer_of("base", _base_tar(), reads, kind="base")


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """A tar of these files, 0755, the same bytes every time."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(data), 0o755, 315532801
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


@functools.cache
def _base_tar() -> bytes:
    files: dict[str, bytes] = {"etc/passwd": b"root:x:0:0:root:/:/bin/sh\n"}
    for name in PROGRAMS:
        path = shutil.which(name)
        assert path is not None
        files[f"bin/{name}"] = Path(path).read_bytes()
        listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
        for word in listed.split():
            if word.startswith("/"):
                files[word.lstrip("/")] = Path(word).read_bytes()
    return tar_of(files)
