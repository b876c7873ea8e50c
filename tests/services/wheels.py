"""Package indexes of tiny wheels, for tests of resolving: versions, tags and passwords that no public index has."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from urllib.parse import unquote

Files = Mapping[str, Mapping[str, bytes]]  # canonical name -> file name -> bytes


def wheel(
    name: str, version: str, *, requires: Sequence[str] = (), tag: str = "py3-none-any", code: str = "", pad: int = 0
) -> tuple[str, bytes]:
    """(file name, bytes) of a wheel with one module that knows its version. pad: bytes of ballast."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}.py": code or f"__version__ = {version!r}\n",
        f"{info}/METADATA": "".join(
            [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", *(f"Requires-Dist: {r}\n" for r in requires)]
        ),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
        **({f"{module}_ballast.txt": "x" * pad} if pad else {}),
    }
    record = "".join(f"{path},,\n" for path in files) + f"{info}/RECORD,,\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return f"{module}-{version}-{tag}.whl", out.getvalue()


def sdist(name: str, version: str) -> tuple[str, bytes]:
    """(file name, bytes) of a source archive that nobody will build."""
    return f"{name}-{version}.tar.gz", b"not an archive"


@dataclass(kw_only=True)
class Index:
    """A running index. requests: paths that were asked for, with the account that came along."""

    url: str
    requests: list[tuple[str, str]] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        """Operator's settings under which this is the only index."""
        return {
            "UV_DEFAULT_INDEX": self.url, "UV_FIND_LINKS": "", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": self.url,
            "PIP_EXTRA_INDEX_URL": "", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
        }  # fmt: skip


@contextmanager
def serve_index(*wheels: tuple[str, bytes], account: str = "") -> Iterator[Index]:
    """A simple index (PEP 691, with sizes and metadata files) on this machine. account: NAME:PASSWORD that opens it."""
    files: dict[str, dict[str, bytes]] = {}
    for file_name, data in wheels:
        name = file_name.split("-")[0].replace("_", "-").lower()
        if file_name.endswith(".tar.gz"):
            name = file_name.removesuffix(".tar.gz").rpartition("-")[0].replace("_", "-").lower()
        files.setdefault(name, {})[file_name] = data
    index = Index(url="")
    handler = partial(_Handler, files=files, account=account, index=index)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        index.url = f"http://127.0.0.1:{server.server_address[1]}/simple"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield index
        finally:
            server.shutdown()
            thread.join()


def _file(package: str, name: str, data: bytes) -> dict[str, object]:
    document: dict[str, object] = {
        "filename": name, "url": f"/simple/{package}/{name.replace('+', '%2B')}", "size": len(data),
        "hashes": {"sha256": hashlib.sha256(data).hexdigest()},
    }  # fmt: skip
    if name.endswith(".whl"):
        document["core-metadata"] = {"sha256": hashlib.sha256(_metadata(data)).hexdigest()}
    return document


def _metadata(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA")))


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *args: object, files: Files, account: str, index: Index) -> None:
        self.files, self.account, self.index = files, account, index
        super().__init__(*args)  # type: ignore[arg-type]  # what the server hands over

    def do_GET(self) -> None:
        """One page of a package, the metadata of a wheel, or one file."""
        given = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        self.index.requests.append((self.path, given))
        if self.account and given != self.account:
            self._answer(HTTPStatus.UNAUTHORIZED, b"", "text/plain")
            return
        parts = unquote(self.path).strip("/").split("/")
        package = self.files.get(parts[1] if len(parts) > 1 else "")
        if package is None:
            self._answer(HTTPStatus.NOT_FOUND, b"", "text/plain")
        elif len(parts) == 2:
            page = {
                "meta": {"api-version": "1.1"},
                "name": parts[1],
                "files": [_file(parts[1], name, data) for name, data in package.items()],
            }
            self._answer(HTTPStatus.OK, json.dumps(page).encode(), "application/vnd.pypi.simple.v1+json")
        elif parts[2].endswith(".metadata"):
            metadata = _metadata(package[parts[2].removesuffix(".metadata")])
            self._answer(HTTPStatus.OK, metadata, "application/octet-stream")
        else:
            self._answer(HTTPStatus.OK, package[parts[2]], "application/octet-stream")

    def log_message(self, *_: object) -> None:
        """Nothing: tests read `requests`."""

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", 'Basic realm="index"')
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
