"""The registry of the API: every route with who may call it, its shapes and its sentence.  Pure.

Why     one list makes the router, the OpenAPI document and the test that calls every route as everybody; a route
        that is not in it does not exist
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from gitserver.accounts.audit import Audit
from gitserver.accounts.auth import Accounts
from gitserver.builds import Pushes
from gitserver.errors import Json
from gitserver.ledger.records import App, Build, Principal, Token
from gitserver.ledger.store import Ledger
from gitserver.settings import Settings
from gitserver.web.schema import Schema


class Access(StrEnum):
    """Whose call is answered; everybody else's gets 401, or the 404 of something that does not exist."""

    ANYONE = "anyone"
    SIGNED_IN = "signed in"
    OPERATOR = "owner of the server"
    APP_OWNER = "owner of the app"  # the path names <owner>/<app>
    BUILD_OWNER = "owner of the build's app"  # the path names <build_id>


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the control plane works with; made once, at the start."""

    settings: Settings
    ledger: Ledger
    pushes: Pushes
    accounts: Accounts
    audit: Audit
    clock: Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody who is signed in, and with which token."""

    principal: Principal
    token: Token

    @property
    def name(self) -> str:
        """The principal's name."""
        return self.principal.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One authorised, checked request. Handlers see nothing else of HTTP.

    args   parts of the path; query and body have the shape that the route declares
    """

    services: Services
    address: str
    request_id: str
    args: Mapping[str, str]
    query: Mapping[str, Json]
    body: Mapping[str, Json]
    signed_in: Caller | None
    named_app: App | None
    named_build: Build | None

    @property
    def caller(self) -> Caller:
        """Who calls; the route's access promises that there is one."""
        assert self.signed_in is not None
        return self.signed_in

    @property
    def app(self) -> App:
        """The app that the path names, or whose build it names; the caller owns it."""
        assert self.named_app is not None
        return self.named_app

    @property
    def build(self) -> Build:
        """The build that the path names; the caller owns its app."""
        assert self.named_build is not None
        return self.named_build

    def record(self, action: str, **fields: Json) -> None:
        """Write the audit row of this call."""
        token_id = self.caller.token.id
        self.services.audit.write(
            action, actor=self.caller.name, token=token_id, ip=self.address, request=self.request_id, **fields
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A JSON document and its status."""

    document: Mapping[str, Json]
    status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class TextStream:
    """Text that is sent while it comes into being."""

    chunks: Iterator[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteStream:
    """A file of known length that is made while it is sent. One that breaks off in the middle is short, and told so."""

    chunks: Iterator[bytes]
    media: str
    size_bytes: int


Handler = Callable[[Call], Answer | TextStream | ByteStream]
Handles = Callable[[Handler], Handler]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation of the API. answers: shape of the document; None for a stream, of the type in media."""

    method: str
    path: str
    summary: str
    access: Access
    handler: Handler
    answers: Schema | None
    status: int
    takes: Schema | None
    query: Mapping[str, Schema]
    media: str

    @property
    def name(self) -> str:
        """Its operation id: the handler's name."""
        return self.handler.__name__


@dataclass(slots=True, kw_only=True)
class Registry:
    """Routes of one subject, collected by the decorators below."""

    routes: list[Route] = field(default_factory=list)

    def route(  # noqa: PLR0913 -- a declaration; all but three are named
        self,
        method: str,
        path: str,
        access: Access,
        *,
        answers: Schema | None,
        status: int = 200,
        takes: Schema | None = None,
        query: Mapping[str, Schema] | None = None,
        media: str = "text/plain",
    ) -> Handles:
        """Register a handler; the first line of its docstring is the summary."""

        def add(handler: Handler) -> Handler:
            summary = (handler.__doc__ or "").strip().splitlines()[0]
            self.routes.append(
                Route(
                    method=method, path=path, summary=summary, access=access, handler=handler, answers=answers,
                    status=status, takes=takes, query=query or {}, media=media,
                )
            )  # fmt: skip
            return handler

        return add
