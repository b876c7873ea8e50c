"""The door to registries: HTTP with a login, retries, and every failure told. Nothing else here imports `requests`.

Rules of this file
1. The environment decides nothing here (no proxy, no .netrc, no bundle of certificates): all of it is an argument.
2. A login goes to the registry's own address and to its token server, nowhere else: uploads may lead elsewhere.
3. Every wait is for a sign of life, not for the whole: a model of gigabytes on a slow line is no failure.
4. What must not be repeated blindly (a stream) is sent once; upload.py knows where to go on.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectTimeout, ProxyError, ReadTimeout, RequestException

from buildpacks.image.answers import PASSING, Answer, Place, is_full, refusal
from buildpacks.image.credentials import find_credentials
from buildpacks.image.login import Login, Question
from buildpacks.image.reference import api_host
from buildpacks.image.traffic import Body, Traffic
from buildpacks.order import BuildFailed

_LOG = logging.getLogger("algo.registry")
PARALLEL = 4
ATTEMPTS = 5
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 30.0
_CONNECT_S = 20.0
_COMMIT_S = 600.0  # a registry reads a whole blob again before it says yes: minutes of silence for gigabytes
_MAX_BODY = 4 * 1024 * 1024  # what the specification asks registries to take as a manifest
_DOWNLOAD_CHUNK = 1 << 20
_AGENT = "algopush"
# OpenSSL's names for "this is no TLS at all": what a server without TLS says is read as a record.
_NOT_TLS = {
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "HTTP_REQUEST",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
}
_FINAL = {"registry-certificate", "registry-plain-http"}  # another attempt would end alike


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryOptions:
    """How registries are reached.

    plain_http     registries that are spoken to without TLS; all others, localhost too, with it
    docker_config  Docker's configuration folder, for logins
    ca_bundle      file of certificates to trust in place of the usual ones; ''
    proxies        `http`, `https`: URL of a proxy; `no`: host names that need none, joined by commas
    idle_s         seconds without a sign of life after which a connection is given up
    """

    plain_http: frozenset[str] = frozenset()
    docker_config: Path | None = None
    ca_bundle: str = ""
    proxies: Mapping[str, str] = field(default_factory=dict)
    idle_s: float = 60.0


def transport(environment: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """(ca_bundle, proxies) of RegistryOptions out of the variables that operators set for every other program."""
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    ca_bundle = next((environment[name] for name in names if environment.get(name)), "")
    kinds = {"http": "HTTP_PROXY", "https": "HTTPS_PROXY", "no": "NO_PROXY"}
    found = {kind: environment.get(name) or environment.get(name.lower()) for kind, name in kinds.items()}
    return ca_bundle, {kind: value for kind, value in found.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request.

    url      a path of the registry, or a whole URL that it gave us
    scopes   what a token must allow
    repeats  it may be sent again by itself; never for a body that is a stream
    """

    method: str
    url: str
    repository: str
    scopes: tuple[str, ...]
    traffic: Traffic
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Body = b""
    repeats: bool = True


class Interrupted(Exception):  # noqa: N818 -- not an end yet: what was sent may be gone on with
    """A connection did not come about, or broke. failure: what to tell when nobody goes on."""

    def __init__(self, failure: BuildFailed) -> None:
        self.failure = failure
        super().__init__(str(failure))


class Registry:
    """One registry: its connections are kept alive and its login is remembered. Safe for threads."""

    def __init__(self, name: str, options: RegistryOptions) -> None:
        """Raises BuildFailed('credentials-unreadable' | 'credential-helper-failed' | 'ca-bundle-unreadable')."""
        if options.ca_bundle and not Path(options.ca_bundle).exists():
            raise BuildFailed("ca-bundle-unreadable", file=options.ca_bundle)
        is_plain = name in options.plain_http
        self.name = name
        self.takes_chunks = True  # until it refused one: it is not asked again
        self._options = options
        self._root = f"{'http' if is_plain else 'https'}://{api_host(name)}"
        self._login = Login(find_credentials(options.docker_config, name), is_plain=is_plain)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers.update({"User-Agent": _AGENT, "Accept-Encoding": "identity"})
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_connections=4, pool_maxsize=2 * PARALLEL, max_retries=0))

    def place(self, repository: str) -> Place:
        """Where requests go, for the words about them."""
        return Place(registry=self.name, repository=repository, user=self._login.user)

    def close(self) -> None:
        """Close its connections."""
        self._session.close()

    def call(self, call: Call) -> Answer:
        """The answer, whatever its status; asked again while that may help, with the login that it wants.

        Raises  BuildFailed: registry-unreachable, registry-broke-off, registry-slow, registry-certificate,
                registry-plain-http. Interrupted in place of these for a call that does not repeat
        """
        attempt, has_learned = 0, False
        while True:
            attempt += 1
            is_last = attempt >= ATTEMPTS or not call.repeats
            try:
                answer, sent = self._once(call)
            except Interrupted as interrupted:
                if not call.repeats:
                    raise
                if is_last or interrupted.failure.code in _FINAL:
                    raise interrupted.failure from interrupted
                _LOG.info("%s: %s, attempt %d", self.name, interrupted.failure, attempt)
                call.traffic.pause(pause_s(attempt))
                continue
            may_log_in = answer.status == 401 and self._login.learn(answer, call.scopes, sent)
            if may_log_in and call.repeats and not has_learned:
                has_learned = True
            elif is_last or answer.status not in PASSING or is_full(answer):
                return answer
            else:
                _LOG.info("%s: status %d, attempt %d", self.name, answer.status, attempt)
                call.traffic.pause(pause_s(attempt, answer))

    @contextmanager
    def download(self, call: Call) -> Iterator[tuple[Answer, Iterator[bytes]]]:
        """An answer whose body is read while it comes: (status and headers, chunks). Sent once.

        Raises  Interrupted, also from the chunks
        """
        with self._open(call) as response:
            answer = Answer(status=response.status_code, headers=_lower(response))
            if not answer.is_good:
                answer = self._whole(response, call.traffic)
                self._login.learn(answer, call.scopes, _sent(response))
            yield answer, self._chunks(response, call.traffic)

    def _once(self, call: Call) -> tuple[Answer, str]:
        with self._open(call) as response:
            return self._whole(response, call.traffic), _sent(response)

    def _whole(self, response: requests.Response, traffic: Traffic) -> Answer:
        body = b""
        for chunk in response.iter_content(64 * 1024):
            body += chunk
            if len(body) > _MAX_BODY:
                raise BuildFailed("registry-answer-long", registry=self.name, limit=_MAX_BODY)
        traffic.count(received_bytes=len(body))
        return Answer(status=response.status_code, headers=_lower(response), body=body)

    @contextmanager
    def _open(self, call: Call) -> Iterator[requests.Response]:
        url = self._absolute(call.url)
        headers = dict(call.headers)
        if url.startswith(f"{self._root}/"):
            authorization = self._login.header(call.scopes, self.place(call.repository), lambda q: self._ask(q, call))
            headers |= {"Authorization": authorization} if authorization else {}
        with self._request(call.method, url, headers, call.body, call.traffic) as response:
            yield response

    def _ask(self, question: Question, call: Call) -> Answer:
        with self._request(question.method, question.url, question.headers, question.body, call.traffic) as response:
            answer = self._whole(response, call.traffic)
        if answer.status in PASSING:
            raise Interrupted(refusal(answer, self.place(call.repository), "give a token"))
        return answer

    @contextmanager
    def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Body, traffic: Traffic
    ) -> Iterator[requests.Response]:
        traffic.check()
        is_upload = method in {"PUT", "PATCH"}
        idle_s = self._options.idle_s
        traffic.count(requests=1, sent_bytes=len(body) if isinstance(body, bytes) else 0)
        try:
            with self._session.request(
                method,
                url,
                headers=dict(headers),
                data=body if len(body) else None,
                timeout=(min(idle_s, _CONNECT_S), _patience_s(idle_s, len(body)) if is_upload else idle_s),
                allow_redirects=method in {"GET", "HEAD"},
                stream=True,
                proxies=self._proxies(url),
                verify=self._options.ca_bundle or True,
            ) as response:
                yield response
        except RequestException as error:
            raise Interrupted(self._told(error)) from error

    def _chunks(self, response: requests.Response, traffic: Traffic) -> Iterator[bytes]:
        for chunk in response.iter_content(_DOWNLOAD_CHUNK):
            traffic.check()
            traffic.count(received_bytes=len(chunk))
            yield chunk

    def _absolute(self, url: str) -> str:
        """A Location may be a path, and a registry behind a proxy may not know that it is reached by TLS."""
        root, found = urlsplit(self._root), urlsplit(urljoin(f"{self._root}/", url))
        if found.hostname == root.hostname and (found.port or root.port) == (root.port or found.port):
            return found._replace(scheme=root.scheme, netloc=root.netloc, fragment="").geturl()
        if found.scheme == "https" or (found.scheme == "http" and root.scheme == "http"):
            return found.geturl()
        raise BuildFailed("registry-realm-unsafe", registry=self.name, realm=f"{found.scheme}://{found.netloc}"[:200])

    def _proxies(self, url: str) -> dict[str, str]:
        host = urlsplit(url).hostname or ""
        for name in filter(None, (part.strip().lstrip(".") for part in self._options.proxies.get("no", "").split(","))):
            if name in {"*", host} or host.endswith(f".{name}"):
                return {}
        return {scheme: proxy for scheme, proxy in self._options.proxies.items() if scheme in {"http", "https"}}

    def _told(self, error: RequestException) -> BuildFailed:
        chain = _chain(error)
        tls = next((cause for cause in chain if isinstance(cause, ssl.SSLError)), None)
        if tls is not None and isinstance(tls, ssl.SSLCertVerificationError):
            return BuildFailed("registry-certificate", registry=self.name, cause=tls.verify_message)
        if tls is not None and (tls.reason or "").upper() in _NOT_TLS:
            return BuildFailed("registry-plain-http", registry=self.name)
        cause = next((text for text in map(_cause, reversed(chain)) if text), type(error).__name__)
        names = {type(cause).__name__ for cause in chain}
        if isinstance(error, ConnectTimeout) or names & {"NewConnectionError", "NameResolutionError"}:
            return BuildFailed("registry-unreachable", registry=self.name, cause=cause)
        if isinstance(error, ProxyError):
            return BuildFailed("registry-unreachable", registry=self.name, cause=f"the proxy: {cause}")
        if isinstance(error, ReadTimeout) or names & {"ReadTimeoutError", "TimeoutError"}:
            return BuildFailed("registry-slow", registry=self.name, seconds=round(self._options.idle_s))
        return BuildFailed("registry-broke-off", registry=self.name, cause=cause)


def pause_s(attempt: int, answer: Answer | None = None) -> float:
    """Seconds before attempt number attempt + 1: what the registry asked for, else twice as long each time."""
    asked = answer.headers.get("retry-after", "") if answer is not None else ""
    wanted = float(asked) if asked.isdigit() else _FIRST_WAIT_S * 2 ** (attempt - 1)
    return min(wanted, _LONGEST_WAIT_S)


def _patience_s(idle_s: float, size_bytes: int) -> float:
    # 20 MB a second: how fast the slowest of disks lets a registry read again what it was sent.
    return min(idle_s + size_bytes / 20e6, _COMMIT_S)


def _sent(response: requests.Response) -> str:
    return str(response.request.headers.get("Authorization", ""))


def _lower(response: requests.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _chain(error: BaseException) -> list[BaseException]:
    """The failure and what caused it: libraries hide causes in `args` and `reason` as well as in __cause__."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop(0)
        if isinstance(cause, BaseException) and cause not in found:
            found.append(cause)
            waiting += [*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__]
    return found


def _cause(error: BaseException) -> str:
    if isinstance(error, ConnectTimeout):
        return "no answer to the attempt to connect"
    is_system = isinstance(error, OSError) and not isinstance(error, RequestException)
    return (error.strerror or str(error)) if is_system and isinstance(error, OSError) else ""
