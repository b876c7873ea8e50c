"""One repository of a registry: its blobs, uploads and manifests, in the words of the specification.

Source  OCI distribution specification 1.1, https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

from buildpacks.image.answers import PASSING, Answer, Place, refusal
from buildpacks.image.challenge import scope_of
from buildpacks.image.registry import Call, Interrupted, Registry
from buildpacks.image.traffic import Body, Traffic
from buildpacks.image.values import INDEX, MANIFEST
from buildpacks.order import BuildFailed

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
_ANY_MANIFEST = f"{MANIFEST}, {INDEX}, {DOCKER_MANIFEST}, {DOCKER_LIST}"
_OCTETS = "application/octet-stream"
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An upload under way. url: where it goes on; offset: bytes that the registry has; chunk_bytes: its least chunk."""

    url: str
    offset: int
    chunk_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredManifest:
    """A manifest as a registry gave it: its bytes, their digest and media type."""

    data: bytes
    digest: str
    media_type: str


class Repository:
    """One repository, for one push or pull: what its traffic counts belongs to that."""

    def __init__(
        self, registry: Registry, name: str, traffic: Traffic, *, is_pull: bool = False, mounts: tuple[str, ...] = ()
    ) -> None:
        """mounts: repositories that blobs may be taken from; a token must allow that from the start."""
        self.registry, self.name, self.traffic = registry, name, traffic
        self.may_mount = True
        own = scope_of(name, "pull" if is_pull else "pull,push")
        self._scopes = (own, *(scope_of(mount, "pull") for mount in sorted(set(mounts))))

    @property
    def place(self) -> Place:
        """For the words of a refusal."""
        return self.registry.place(self.name)

    def has_blob(self, digest: str) -> bool:
        """The registry has the blob in this repository. A refusal counts as no: that of the upload will have words."""
        answer = self._call("HEAD", f"blobs/{digest}")
        if answer.status in PASSING or answer.status == 401:
            raise refusal(answer, self.place, f"look for {digest}")
        return answer.is_good

    def start_upload(self, *, digest: str = "", mount_from: str = "") -> Upload | None:
        """A new upload; None when the registry took the blob over from mount_from instead."""
        query = f"?mount={quote(digest)}&from={quote(mount_from, safe='')}" if mount_from else ""
        answer = self._call("POST", f"blobs/uploads/{query}")
        if answer.status == 201 and mount_from:
            return None
        if answer.status in {401, 403} and mount_from:
            self.may_mount = False  # the source is closed to this login; the repository itself may be open
            return self.start_upload()
        if answer.status != 202 or "location" not in answer.headers:
            raise refusal(answer, self.place, "begin an upload")
        least = answer.headers.get("oci-chunk-min-length", "")
        return Upload(url=answer.headers["location"], offset=0, chunk_bytes=int(least) if least.isdigit() else 0)

    def send_chunk(self, upload: Upload, body: Body | bytes) -> Answer:
        """Add bytes at the upload's offset. Raises Interrupted."""
        last = upload.offset + len(body) - 1
        headers = {"Content-Type": _OCTETS, "Content-Range": f"{upload.offset}-{last}"}
        return self._at(upload, "PATCH", headers=headers, body=body)

    def finish(self, upload: Upload, digest: str, body: Body | bytes = b"") -> Answer:
        """Add the last bytes and have the whole compared with its digest. Raises Interrupted."""
        joint = "&" if "?" in upload.url else "?"
        url = f"{upload.url}{joint}digest={quote(digest)}"
        return self._at(Upload(url=url, offset=0), "PUT", headers={"Content-Type": _OCTETS}, body=body)

    def look_up(self, upload: Upload) -> Upload | None:
        """How far an upload got; None when the registry has given it up."""
        answer = self._at(upload, "GET", repeats=True)
        found = after(upload, answer)
        return found if answer.status == 204 and found.offset >= 0 else None

    def cancel(self, upload: Upload) -> None:
        """Have the registry drop what it got. Its answer changes nothing: such leftovers expire by themselves."""
        try:
            # With a traffic of its own: it is needed most when the push was given up, where nothing else may be sent.
            self._at(upload, "DELETE", traffic=Traffic())
        except (Interrupted, BuildFailed):
            return

    def put_manifest(self, name: str, data: bytes, media_type: str) -> Answer:
        """Store a manifest by its digest or under a tag; any status."""
        return self._call("PUT", f"manifests/{name}", headers={"Content-Type": media_type}, body=data)

    def manifest(self, name: str) -> StoredManifest | None:
        """The manifest of a tag or a digest; None when there is none.

        Raises  BuildFailed('registry-altered') when it is not what its digest says
        """
        answer = self._call("GET", f"manifests/{name}", headers={"Accept": _ANY_MANIFEST})
        if answer.status == 404:
            return None
        if not answer.is_good:
            raise refusal(answer, self.place, f"read {self.name}:{name}")
        digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        if name.startswith("sha256:") and name != digest:
            raise BuildFailed("registry-altered", registry=self.registry.name, digest=name)
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip()
        return StoredManifest(data=answer.body, digest=digest, media_type=media_type)

    @contextmanager
    def blob(self, digest: str, offset: int) -> Iterator[tuple[Answer, Iterator[bytes]]]:
        """A blob's bytes from an offset on. Raises Interrupted, also while they are read."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with self.registry.download(self._make("GET", f"blobs/{digest}", headers=headers)) as found:
            yield found

    def _at(
        self,
        upload: Upload,
        method: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | bytes = b"",
        repeats: bool = False,
        traffic: Traffic | None = None,
    ) -> Answer:
        return self.registry.call(
            Call(
                method=method,
                url=upload.url,
                repository=self.name,
                scopes=self._scopes,
                traffic=traffic or self.traffic,
                headers=headers or {},
                body=body,
                repeats=repeats,
            )
        )

    def _call(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        return self.registry.call(self._make(method, path, headers=headers or {}, body=body))

    def _make(self, method: str, path: str, *, headers: Mapping[str, str], body: bytes = b"") -> Call:
        return Call(
            method=method, url=f"/v2/{self.name}/{path}", repository=self.name, scopes=self._scopes,
            traffic=self.traffic, headers=headers, body=body,
        )  # fmt: skip


def after(upload: Upload, answer: Answer) -> Upload:
    """Where an upload goes on, as an answer says. offset is -1 when it says nothing that could be understood.

    `Range: 0-0` means one byte in the specification, and none in what distribution answers before the first: who goes
    on from it would leave a byte out, so it counts as none, and the byte is sent again to a registry that then says no.
    """
    match = _RANGE.fullmatch(answer.headers.get("range", ""))
    last = int(match[1]) if match is not None else -2
    return Upload(
        url=answer.headers.get("location", upload.url),
        offset=0 if last == 0 else last + 1,
        chunk_bytes=upload.chunk_bytes,
    )
