"""A token server, as large registries have one: signs what a user may do, in the form that docker-registry believes.

Source  https://distribution.github.io/distribution/spec/auth/jwt/
"""

from __future__ import annotations

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key


class TokenServer:
    """rights: user -> repository -> actions that tokens of this user allow; the password of each user is `pw-USER`."""

    def __init__(self, certificate: tuple[Path, Path], rights: dict[str, dict[str, set[str]]]) -> None:
        key = load_pem_private_key(certificate[1].read_bytes(), None)
        assert isinstance(key, RSAPrivateKey)
        self._key = key
        self._certificate = x509.load_pem_x509_certificate(certificate[0].read_bytes())
        self.rights = rights
        self.life_s = 300
        self.busy = 0  # how many questions are answered with 503 first
        self.asked: list[list[str]] = []  # the scopes of each question
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def realm(self) -> str:
        """Where tokens are asked for."""
        return f"http://127.0.0.1:{self._server.server_port}/token"

    def __enter__(self) -> TokenServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def token(self, user: str, scopes: list[str]) -> str:
        """A token for those of the scopes that the user has."""
        self.asked.append(scopes)
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            allowed = self.rights.get(user, {}).get(name, set())
            access.append({"type": kind, "name": name, "actions": sorted(allowed & set(actions.split(",")))})
        now = int(time.time())
        head = {
            "typ": "JWT", "alg": "RS256",
            "x5c": [base64.b64encode(self._certificate.public_bytes(Encoding.DER)).decode()],
        }  # fmt: skip
        claims = {
            "iss": "tests", "sub": user, "aud": "tests", "exp": now + self.life_s, "nbf": now - 60, "iat": now,
            "jti": f"{len(self.asked)}", "access": access,
        }  # fmt: skip
        body = ".".join(_encoded(json.dumps(part).encode()) for part in (head, claims))
        return f"{body}.{_encoded(self._key.sign(body.encode(), PKCS1v15(), SHA256()))}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                if outer.busy:
                    outer.busy -= 1
                    self._answer(503, {})
                    return
                user, _, password = _basic(self.headers.get("Authorization", "")).partition(":")
                if user and password != f"pw-{user}":
                    self._answer(401, {"details": "incorrect username or password"})
                    return
                token = outer.token(user, query.get("scope", []))
                self._answer(200, {"token": token, "expires_in": outer.life_s})

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                user = form["refresh_token"][0].removeprefix("refresh-")
                token = outer.token(user, form["scope"][0].split(" "))
                self._answer(200, {"access_token": token, "expires_in": outer.life_s})

            def log_message(self, *_: object) -> None:
                return

            def _answer(self, status: int, document: dict[str, object]) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Handler


def _basic(header: str) -> str:
    return base64.b64decode(header.removeprefix("Basic ")).decode() if header.startswith("Basic ") else ""


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
