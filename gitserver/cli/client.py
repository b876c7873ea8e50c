"""The door to the server: the management API over HTTP, with deadlines, errors as values of our own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from gitserver.errors import Json, Problem

if TYPE_CHECKING:
    import httpx

CONNECT_S = 10.0
ANSWER_S = 60.0
SILENCE_S = 30.0  # of a stream that promises a heartbeat every 5 s
CALL_S = 310.0  # the gateway ends a call after 300 s
PREFIX = "/api/v1"


class Refused(Exception):  # noqa: N818 -- an answer, not a bug
    """The server's answer to a request that it did not carry out."""

    def __init__(self, status: int, document: Mapping[str, Json]) -> None:
        self.status = status
        self.code = str(document.get("code", ""))
        self.sentence = str(document.get("error", f"the server answered {status}"))
        self.next_step = str(document.get("next", ""))
        log = document.get("log")
        self.log = [str(line) for line in log] if isinstance(log, list) else []
        super().__init__(f"{status} {self.code}")


class Server:
    """A server and the token to speak with."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url
        self._token = token

    def get(self, path: str, query: Mapping[str, str | int] | None = None) -> dict[str, Json]:
        """Read a document. Raises Refused, Problem('server-unreachable' | 'not-this-server')."""
        return self._ask("GET", path, None, query)

    def send(self, method: str, path: str, body: Mapping[str, Json] | None = None) -> dict[str, Json]:
        """Change something; the answer's document. Raises as get."""
        return self._ask(method, path, body, None)

    def stream(self, path: str, query: Mapping[str, str | int]) -> Iterator[bytes]:
        """A text stream, piece by piece as it comes. Raises as get, in the middle too."""
        with self._open("GET", PREFIX + path, params=query, timeout_s=SILENCE_S) as response:
            if response.status_code >= 400:
                response.read()
                raise Refused(response.status_code, _document(response, self.url))
            yield from response.iter_raw()

    @contextmanager
    def call(self, method: str, path: str, content: bytes | None, content_type: str) -> Iterator[httpx.Response]:
        """One call of a model; the response is open and its body still to be read."""
        headers = {"Content-Type": content_type} if content is not None else {}
        with self._open(method, path, content=content, headers=headers, timeout_s=CALL_S) as response:
            yield response

    def _ask(
        self, method: str, path: str, body: Mapping[str, Json] | None, query: Mapping[str, str | int] | None
    ) -> dict[str, Json]:
        content = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        with self._open(
            method, PREFIX + path, params=query, content=content, headers=headers, timeout_s=ANSWER_S
        ) as response:
            response.read()
        document = _document(response, self.url)
        if response.status_code >= 400:
            raise Refused(response.status_code, document)
        return document

    @contextmanager
    def _open(
        self,
        method: str,
        path: str,
        *,
        timeout_s: float,
        params: Mapping[str, str | int] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[httpx.Response]:
        import httpx  # a tenth of a second that --help and the credential helper do not pay

        sent = dict(headers or {})
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        timeout = httpx.Timeout(timeout_s, connect=CONNECT_S)
        try:
            with (
                httpx.Client(base_url=self.url, timeout=timeout, follow_redirects=False) as client,
                client.stream(method, path, params=params, content=content, headers=sent) as response,
            ):
                yield response
        except httpx.HTTPError as error:
            raise Problem("server-unreachable", url=self.url, detail=str(error) or type(error).__name__) from error


def path_of(*parts: str) -> str:
    """`/apps/alice/iris/previews/feature%2Fx`: each part quoted whole, but for '/' in the last."""
    return "".join(f"/{quote(part, safe='')}" for part in parts[:-1]) + f"/{quote(parts[-1], safe='/')}"


def _document(response: httpx.Response, url: str) -> dict[str, Json]:
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Problem("not-this-server", url=url, status=response.status_code)
    return document
