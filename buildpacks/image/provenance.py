"""Where an image came from: a statement about one manifest, kept beside the image and never in it.  Pure.

Times, commit and build id stand here, so that the image itself is the same whoever builds it, and when.

Source  in-toto Statement v1; SLSA provenance v1, https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from buildpacks.image.config import hex_of, render_config
from buildpacks.image.document import parse_document
from buildpacks.image.labels import pinned
from buildpacks.image.sbom import lock_of
from buildpacks.image.values import Blob
from buildpacks.order import Json

MEDIA_TYPE = "application/vnd.in-toto+json"
BUILD_TYPE = "urn:algopush:build:v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """One build, as its server knows it.

    app         `alice/iris`
    commit_sha  git object id of the commit that was pushed
    builder     a URI that names the server and its version
    build_id    as `algo builds` shows it
    parameters  settings of the application that the build saw; no secrets
    """

    app: str
    commit_sha: str
    builder: str
    build_id: str
    started_at: datetime
    finished_at: datetime
    parameters: Mapping[str, str]


def provenance(doc: Mapping[str, Json], origin: Origin, repository: str, subject: Blob) -> bytes:
    """The statement that subject, a manifest in repository, was built as origin says.

    Raises  BuildFailed('no-stack' | 'dockerfile-image')
    """
    materials: list[Json] = [
        {"name": "source", "uri": f"urn:algopush:app:{origin.app}", "digest": {"gitCommit": origin.commit_sha}},
        _stack(doc),
    ]
    lock = lock_of(doc).encode()
    if lock:
        materials.append(
            {
                "name": "lock",
                "mediaType": "text/plain",
                "digest": {"sha256": hashlib.sha256(lock).hexdigest()},
                "content": base64.b64encode(lock).decode(),
            }
        )
    return render_config(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": repository, "digest": {"sha256": hex_of(subject.digest)}}],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": {
                        "app": origin.app, "commit": origin.commit_sha, "settings": dict(origin.parameters),
                    },
                    "internalParameters": {"buildpacks": doc.get("buildpacks", [])},
                    "resolvedDependencies": materials,
                },
                "runDetails": {
                    "builder": {"id": origin.builder},
                    "metadata": {
                        "invocationId": origin.build_id,
                        "startedOn": _rfc3339(origin.started_at),
                        "finishedOn": _rfc3339(origin.finished_at),
                    },
                },
            },
        }
    )  # fmt: skip


def _stack(doc: Mapping[str, Json]) -> Json:
    base = parse_document(doc).base
    return {
        "name": "stack",
        "uri": f"oci:{pinned(base.reference, base.manifest_digest)}",
        "digest": {"sha256": hex_of(base.manifest_digest)},
    }


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
