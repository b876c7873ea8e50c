"""An image document becomes an OCI configuration and an OCI manifest: the same document, the same bytes.  Pure.

Nothing volatile stands in them (no time, host, build id, commit): those belong to provenance, a referrer.

Source  OCI image specification 1.1, config.md, manifest.md; Docker image specification 1.3 for Healthcheck
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from buildpacks.image.config import image_digest, render_config
from buildpacks.image.document import Document, parse_document
from buildpacks.image.labels import image_labels
from buildpacks.image.process_scripts import process_scripts
from buildpacks.image.store import APP_PATH, LAYERS_PATH, launch_metadata
from buildpacks.image.tar import memory_layer
from buildpacks.image.values import CONFIG, INDEX, LAYER_GZIP, LAYER_ZSTD, MANIFEST, Blob
from buildpacks.image.variants import variant_document, variant_names
from buildpacks.lifecycle.toml_writer import render_toml
from buildpacks.order import Json

CREATED = "1980-01-01T00:00:01Z"
DEFAULT_PORT = 8080
USER = "1000:1000"
CONFIG_LAYER = f"{LAYERS_PATH}/config"
EMPTY, EMPTY_TYPE = b"{}", "application/vnd.oci.empty.v1+json"
# For the tools of the specification. Without a platform API a rebaser compares stack ids, which newer bases lack.
_SPEC_ENV = {"CNB_APP_DIR": f"/{APP_PATH}", "CNB_LAYERS_DIR": f"/{LAYERS_PATH}", "CNB_PLATFORM_API": "0.12"}
_SECOND_NS = 1_000_000_000
# Imports the interpreter's own socket module and nothing of the image: about 20 ms each half minute.
_CHECK = (
    "import os,socket as s;b=os.environ.get('ALGO_BIND','');u=b.startswith('unix:');"
    "c=s.socket(s.AF_UNIX if u else s.AF_INET);c.settimeout(3);"
    "c.connect(b[5:] if u else ('127.0.0.1',int(b.rpartition(':')[2] or os.environ['PORT'])))"
)


def image_config(doc: Mapping[str, Json]) -> bytes:
    """The OCI configuration of a document, canonical.

    Raises  BuildFailed('no-stack' | 'dockerfile-image') for a document that has no base to lie on
    """
    parts = parse_document(doc)
    config_layer = digest_of(config_layer_tar(doc))
    titles = [parts.base.reference for _ in parts.base.diff_ids]
    titles += [*(layer.title for layer in parts.below), CONFIG_LAYER, *(layer.title for layer in parts.above)]
    below, above = ([layer.diff_id for layer in layers] for layers in (parts.below, parts.above))
    diff_ids: list[Json] = [*parts.base.diff_ids, *below, config_layer, *above]
    # One image names the others: no second image of a release can change without a new name for the release.
    variants = {f"algo.variant.{name}": image_id(variant_document(doc, name)) for name in variant_names(doc)}
    platform: dict[str, Json] = {"architecture": parts.base.arch, "os": parts.base.os}
    if parts.base.variant:
        platform["variant"] = parts.base.variant
    return render_config(
        {
            **platform,
            "config": _process_config(parts, image_labels(doc, parts, config_layer) | variants),
            "created": CREATED,
            "history": [{"created": CREATED, "created_by": title} for title in titles],
            "rootfs": {"diff_ids": diff_ids, "type": "layers"},
        }
    )


def image_id(doc: Mapping[str, Json]) -> str:
    """`sha256:...` of the configuration: the image's name in our ledger and in a graphdriver engine."""
    return digest_of(image_config(doc))


def document_digest(doc: Mapping[str, Json]) -> str:
    """The ledger's name for any document: the image's id, or a digest of the document where it lies on no stack."""
    return image_id(doc) if isinstance(doc.get("stack"), dict) else image_digest(doc)


def config_layer_tar(doc: Mapping[str, Json]) -> bytes:
    """The layer between dependencies and application, a few kilobytes: metadata.toml and the processes' scripts."""
    metadata = {"metadata.toml": render_toml(launch_metadata(doc)).encode()}
    return memory_layer(CONFIG_LAYER, metadata, process_scripts(doc))


def image_manifest(config: bytes, blobs: Sequence[Blob], annotations: Mapping[str, str]) -> bytes:
    """The OCI manifest of a configuration over layer blobs, bottom to top; canonical."""
    return render_config(
        {
            "annotations": dict(annotations),
            "config": descriptor(blob_of(config, CONFIG)),
            "layers": [descriptor(blob) for blob in blobs],
            "mediaType": MANIFEST,
            "schemaVersion": 2,
        }
    )


def image_index(manifests: Sequence[dict[str, Json]]) -> bytes:
    """An OCI index of manifest descriptors."""
    return render_config({"manifests": list(manifests), "mediaType": INDEX, "schemaVersion": 2})


def referrer_manifest(artifact_type: str, blob: Blob, subject: Blob, annotations: Mapping[str, str]) -> bytes:
    """The manifest of something that is said about an image: an SBOM, a provenance statement.

    subject  the manifest that it is said about. The registry must also hold EMPTY, which stands for a configuration
    Source   OCI image specification 1.1, manifest.md "Guidelines for Artifact Usage"
    """
    return render_config(
        {
            "annotations": dict(annotations),
            "artifactType": artifact_type,
            "config": descriptor(blob_of(EMPTY, EMPTY_TYPE)),
            "layers": [descriptor(blob)],
            "mediaType": MANIFEST,
            "schemaVersion": 2,
            "subject": descriptor(subject),
        }
    )


def descriptor(blob: Blob) -> dict[str, Json]:
    """A blob as manifests name it."""
    return {"digest": blob.digest, "mediaType": blob.media_type, "size": blob.size_bytes}


def blob_of(data: bytes, media_type: str) -> Blob:
    """The blob that these bytes are."""
    return Blob(digest=digest_of(data), size_bytes=len(data), media_type=media_type)


def digest_of(data: bytes) -> str:
    """`sha256:<hex>` of bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def is_compressed(blob: Blob) -> bool:
    """Its bytes are not the tar that the diff id names."""
    return blob.media_type in {LAYER_GZIP, LAYER_ZSTD}


def _process_config(parts: Document, labels: Mapping[str, str]) -> dict[str, Json]:
    env = {"PORT": str(DEFAULT_PORT), **parts.base.env, **_SPEC_ENV, **parts.launch.env}
    found: dict[str, Json] = {
        "Entrypoint": list(parts.launch.argv),
        "Env": [f"{name}={value}" for name, value in sorted(env.items())],
        "ExposedPorts": {f"{DEFAULT_PORT}/tcp": {}},
        "Labels": dict(labels),
        "StopSignal": "SIGTERM",
        "User": USER,
        "WorkingDir": parts.launch.cwd,
        **({"Cmd": list(parts.launch.args)} if parts.launch.args else {}),
    }
    if parts.python_path:  # without an interpreter there is nothing in the image that is sure to be able to ask
        found["Healthcheck"] = {
            "Test": ["CMD", parts.python_path, "-IS", "-c", _CHECK],
            "Interval": 30 * _SECOND_NS,
            "Timeout": 5 * _SECOND_NS,
            "StartPeriod": 120 * _SECOND_NS,
            "Retries": 3,
        }
    return found
