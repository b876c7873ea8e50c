"""Labels of an image: the specification's, Docker's and ours.  Pure.

Rules of this file
1. Names below `algo.` and `io.buildpacks.` are ours to give: an application's label of such a name is left out, for
   containers inherit labels and the server finds its own by them.
2. Nothing volatile, nothing long: labels come with every list of images.

Source  buildpacks/spec platform.md 0.15 "Labels"; lifecycle platform/files/metadata_label.go; OCI image annotations
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from buildpacks.image.document import Document, table, table_list
from buildpacks.image.launching import exec_env_of
from buildpacks.image.store import launch_metadata
from buildpacks.lifecycle.launch import DEFAULT_EXEC_ENV, LAUNCHER_LAYER
from buildpacks.lifecycle.sbom import SBOM_LAYER
from buildpacks.order import Json

OURS = "algo.image"
_OUR_NAMES = ("algo.", "io.buildpacks.")
_MAX_DATA_CHARS = 1024


def image_labels(doc: Mapping[str, Json], parts: Document, config_diff_id: str) -> dict[str, str]:
    """Every label of the image.

    config_diff_id  of the layer that holds metadata.toml
    """
    base = {name: value for name, value in parts.base.labels.items() if not name.startswith("algo.")}
    app = {name: str(value) for name, value in table(doc.get("labels")).items() if not name.startswith(_OUR_NAMES)}
    return {
        **base,
        **app,
        **_model_labels(table(doc.get("model"))),
        **({"algo.variant": str(doc["variant"])} if "variant" in doc else {}),
        **({} if (made_for := exec_env_of(doc)) == DEFAULT_EXEC_ENV else {"io.buildpacks.exec-env": made_for}),
        OURS: "1",
        "io.buildpacks.build.metadata": _json(launch_metadata(doc)),
        "io.buildpacks.lifecycle.metadata": _json(_lifecycle_metadata(doc, parts, config_diff_id)),
        "io.buildpacks.project.metadata": "{}",
        "io.buildpacks.rebasable": "true",
        "org.opencontainers.image.base.digest": parts.base.manifest_digest,
        "org.opencontainers.image.base.name": parts.base.reference,
    }


def pinned(reference: str, manifest_digest: str) -> str:
    """`debian@sha256:...` of `debian:bookworm`: the reference that stays true."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}@{manifest_digest}"


def _model_labels(model: Mapping[str, Json]) -> dict[str, str]:
    facts, serve = table(model.get("facts")), table(model.get("serve"))
    found = {
        "algo.framework": facts.get("framework"),
        "algo.framework.version": facts.get("version"),
        "algo.model.kind": facts.get("kind"),
        "algo.model.path": facts.get("path"),
        "algo.serve.kind": serve.get("kind"),
    }
    return {name: value for name, value in found.items() if isinstance(value, str) and value}


def _lifecycle_metadata(doc: Mapping[str, Json], parts: Document, config_diff_id: str) -> dict[str, Json]:
    """What analyzer and rebaser of the reference lifecycle read; `sha` is a diff id."""
    app: list[Json] = [{"sha": layer.diff_id} for layer in parts.layers if layer.kind in {"slice", "app"}]
    return {
        "app": app,
        "buildpacks": [_pack_metadata(pack) for pack in table_list(table(doc.get("lifecycle")).get("buildpacks"))],
        "config": {"sha": config_diff_id},
        "launcher": {"sha": _sha_of(parts, LAUNCHER_LAYER)},
        "process-types": {"sha": ""},
        **({"sbom": {"sha": sbom}} if (sbom := _sha_of(parts, SBOM_LAYER)) else {}),
        "runImage": {
            "image": parts.base.reference,
            "reference": pinned(parts.base.reference, parts.base.manifest_digest),
            "topLayer": parts.base.diff_ids[-1],
        },
    }


def _sha_of(parts: Document, path: str) -> str:
    return next((layer.diff_id for layer in parts.layers if layer.kind == "layer" and layer.path == path), "")


def _pack_metadata(pack: Mapping[str, Json]) -> dict[str, Json]:
    layers: dict[str, Json] = {
        name: {
            "sha": layer.get("sha", ""),
            "data": _short(layer.get("data", {})),
            "build": bool(layer.get("build")),
            "launch": bool(layer.get("launch")),
            "cache": bool(layer.get("cache")),
        }
        for name, layer in ((name, table(value)) for name, value in table(pack.get("layers")).items())
    }
    found: dict[str, Json] = {"key": pack.get("key", ""), "version": pack.get("version", ""), "layers": layers}
    store = table(table(pack.get("store")).get("metadata"))
    return {**found, "store": {"metadata": _short(store)}} if store else found


def _short(value: Json) -> Json:
    # A lock with the hashes of every wheel has up to some 100 KB; provenance and ledger have it in full.
    match value:
        case str() if len(value) > _MAX_DATA_CHARS:
            return f"sha256:{hashlib.sha256(value.encode()).hexdigest()}"
        case dict():
            return {key: _short(item) for key, item in value.items()}
        case list():
            return [_short(item) for item in value]
        case _:
            return value


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
