"""Files of Cog's callers: a URL or a data URL comes in, a file is handed to the code, a file it returns leaves as one.

Rules  1. only http, https and data: a path of this machine is never opened for a caller
       2. what came in is deleted when the call is over, streamed answers included
"""

from __future__ import annotations

import base64
import http.client
import mimetypes
import os
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path, PurePosixPath
from typing import Any

from ..hints import Unfit
from ..jsontext import fields_of
from ..refusal import Flaw

DOWNLOAD_TIMEOUT_S = 60
MAX_DOWNLOAD_BYTES = 512 * 1024 * 1024
_CHUNK_BYTES = 1 << 20


class InputFiles:
    """The files of one call, in a folder that is made with the first of them."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._count = 0

    def save(self, url: Any, at: str) -> Path:
        """The content behind url as a file. Raises Unfit for what is no URL, and for one that gives nothing."""
        if not isinstance(url, str):
            raise Unfit(Flaw(path=at, message="expected a URL or a data URL as a string"))
        scheme = url.partition(":")[0].lower()
        if scheme == "data":
            return self._save_data(url, at)
        if scheme in ("http", "https"):
            return self._download(url, at)
        raise Unfit(Flaw(path=at, message="expected an http, https or data URL"))

    def remove(self) -> None:
        """Delete them all."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _place(self, name: str) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="inputs-"))
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        return folder / (PurePosixPath(name).name[:100] or "file")

    def _save_data(self, url: str, at: str) -> Path:
        head, comma, payload = url.partition(",")
        if not comma:
            raise Unfit(Flaw(path=at, message="the data URL has no comma"))
        words = head[len("data:") :].split(";")
        try:
            content = base64.b64decode(payload, validate=True) if "base64" in words else _unquoted(payload)
        except ValueError:  # binascii.Error is one; letters beyond ASCII raise the plain one
            raise Unfit(Flaw(path=at, message="the data URL does not hold base64")) from None
        path = self._place("file" + (mimetypes.guess_extension(words[0]) or ""))
        path.write_bytes(content)
        return path

    def _download(self, url: str, at: str) -> Path:
        path = self._place(urllib.parse.urlsplit(url).path)
        try:
            # The scheme has been looked at above, and urllib follows redirects to these schemes and ftp alone.
            with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_S) as reply, path.open("wb") as file:  # noqa: S310
                left = MAX_DOWNLOAD_BYTES
                while chunk := reply.read(_CHUNK_BYTES):
                    left -= len(chunk)
                    if left < 0:
                        raise Unfit(Flaw(path=at, message=f"the file is larger than {MAX_DOWNLOAD_BYTES} bytes"))
                    file.write(chunk)
        except urllib.error.HTTPError as exc:
            exc.close()  # it holds the connection, and the exception that is made of it lives longer
            raise Unfit(Flaw(path=at, message=f"the URL cannot be read: {exc}")) from exc
        except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as exc:
            raise Unfit(Flaw(path=at, message=f"the URL cannot be read: {exc}")) from exc
        return path


def _unquoted(payload: str) -> bytes:
    return urllib.parse.unquote_to_bytes(payload)


def with_files_inlined(result: Any) -> Any:
    """A result with every path and every open file in it as a data URL; objects with fields become dicts."""
    if isinstance(result, os.PathLike):
        path = Path(result)
        return _data_url(path.read_bytes(), path.name)
    if hasattr(result, "read") and hasattr(result, "seek"):
        result.seek(0)
        content = result.read()
        return _data_url(content.encode() if isinstance(content, str) else content, str(getattr(result, "name", "")))
    if isinstance(result, dict):
        return {key: with_files_inlined(item) for key, item in result.items()}
    if isinstance(result, (list, tuple)):
        return [with_files_inlined(item) for item in result]
    fields = fields_of(result)  # an Output(BaseModel), as often as not with a Path in it
    return result if fields is None else with_files_inlined(fields)


def _data_url(content: bytes, name: str) -> str:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
