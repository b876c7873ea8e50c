"""An image document of the ledger as values: what assembling an image needs of it.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from buildpacks.image.config import check_format
from buildpacks.image.store import APP_PATH
from buildpacks.order import BuildFailed, Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The run image below. env and labels are those of its configuration; variant is '' where there is none."""

    reference: str
    image_id: str
    manifest_digest: str
    diff_ids: tuple[str, ...]
    arch: str
    os: str
    variant: str
    env: Mapping[str, str]
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocLayer:
    """One layer of ours, as the document names it. tar_bytes is 0 in documents that did not count it."""

    diff_id: str
    kind: str
    path: str
    size_bytes: int
    tar_bytes: int

    @property
    def title(self) -> str:
        """For people: `layers/algo_python/deps`, `model/iris.joblib`, `application`."""
        if self.kind == "layer":
            return f"layers/{self.path}"
        return "application" if self.kind == "app" else self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How the default process starts inside the image; no argv: it has none. args: what a user may replace."""

    argv: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """An image that lies on a stack, bottom to top. python_path is '' when the stack has no interpreter for it."""

    base: Base
    layers: tuple[DocLayer, ...]
    launch: Launch
    python_path: str

    @property
    def below(self) -> tuple[DocLayer, ...]:
        """Layers that stand below our configuration layer: what no push of code or model changes.

        Why  a graphdriver engine takes each new layer anew, and every one above it: what changes most stands on top
        """
        return tuple(layer for layer in self.layers if layer.kind == "layer")

    @property
    def above(self) -> tuple[DocLayer, ...]:
        """Models and application."""
        return tuple(layer for layer in self.layers if layer.kind != "layer")


def parse_document(doc: Mapping[str, Json]) -> Document:
    """The values of a document.

    Raises  BuildFailed('no-stack') for an image of this machine's own Python, BuildFailed('dockerfile-image') for one
            that only an engine has: neither can be assembled; BuildFailed('image-format')
    """
    if doc.get("base") == "dockerfile":
        raise BuildFailed("dockerfile-image", image=str(doc.get("engine_image", "")))
    check_format(doc)
    stack, launch = doc.get("stack"), table(doc.get("launch"))
    if not isinstance(stack, dict):
        raise BuildFailed("no-stack")
    return Document(
        base=_base(stack),
        layers=parse_layers(doc),
        launch=Launch(
            argv=tuple(_texts(launch.get("argv"))),
            args=tuple(_texts(launch.get("args"))),
            env=_strings(launch.get("env")),
            cwd=str(launch.get("cwd", f"/{APP_PATH}")),
        ),
        python_path=str(table(doc.get("python")).get("path", "")),
    )


def parse_layers(doc: Mapping[str, Json]) -> tuple[DocLayer, ...]:
    """The layers of any document, also of one without a stack."""
    return tuple(
        DocLayer(
            diff_id=str(item["diff_id"]),
            kind=str(item["kind"]),
            path=str(item["path"]),
            size_bytes=_whole(item.get("size_bytes")),
            tar_bytes=_whole(item.get("tar_bytes")),
        )
        for item in table_list(doc.get("layers"))
    )


def table(value: Json) -> dict[str, Json]:
    """A JSON object, or an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def table_list(value: Json) -> list[dict[str, Json]]:
    """The objects of a JSON list; empty in place of anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _base(stack: Mapping[str, Json]) -> Base:
    config = table(stack.get("config"))
    inner = table(config.get("config"))
    return Base(
        reference=str(stack["reference"]),
        image_id=str(stack["image_id"]),
        manifest_digest=str(stack["manifest_digest"]),
        diff_ids=tuple(_texts(stack["diff_ids"])),
        arch=str(config.get("architecture", "")),
        os=str(config.get("os", "linux")),
        variant=str(config.get("variant", "")),
        env=dict(entry.partition("=")[::2] for entry in _texts(inner.get("Env"))),
        labels=_strings(inner.get("Labels")),
    )


def _texts(value: Json) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _strings(value: Json) -> dict[str, str]:
    return {key: str(item) for key, item in table(value).items()}


def _whole(value: Json) -> int:
    return value if isinstance(value, int) else 0
