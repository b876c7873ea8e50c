"""Who we are at a registry, from Docker's own configuration: `docker login` is all that an operator has to know.

Rules of this file
1. A secret appears in no message, no repr and no argument list: helpers answer on a pipe.
2. What cannot be read is told, not skipped: a push that goes on without its login fails later with less to say.

Source  https://docs.docker.com/reference/cli/docker/login/, docker-credential-helpers 0.9 (protocol `get`)
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from buildpacks.image.reference import DEFAULT_REGISTRY
from buildpacks.order import BuildFailed, Json

_HELPER_S = 30.0
_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DEFAULT_KEY = "https://index.docker.io/v1/"  # what Docker files its own registry under
_TOKEN_USER = "<token>"  # noqa: S105 -- a helper's user name for "the secret is an identity token"
_NOTHING_SAVED = "credentials not found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A login: a user with a password, or an identity token in place of both."""

    user: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The header value of RFC 7617."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def find_credentials(folder: Path | None, registry: str) -> Credentials | None:
    """The login for a registry, None when there is none: a helper of its own, then the store, then the file.

    folder  Docker's configuration folder ($DOCKER_CONFIG); None: no configuration
    Raises  BuildFailed('credentials-unreadable' | 'credential-helper-failed')
    """
    if folder is None:
        return None
    path = folder / "config.json"
    document = _read(path)
    helper = _strings(document.get("credHelpers")).get(registry) or document.get("credsStore")
    if isinstance(helper, str) and helper:
        found = _ask(helper, _DEFAULT_KEY if registry == DEFAULT_REGISTRY else registry)
        if found is not None:
            return found
    auths = document.get("auths")
    for key, entry in auths.items() if isinstance(auths, dict) else ():
        if _registry_of(key) == registry and isinstance(entry, dict):
            return _from_entry(entry, path)
    return None


def _read(path: Path) -> dict[str, Json]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BuildFailed("credentials-unreadable", file=str(path), message=error.strerror or "") from error
    except ValueError as error:
        raise BuildFailed("credentials-unreadable", file=str(path), message="it is no JSON") from error
    if not isinstance(document, dict):
        raise BuildFailed("credentials-unreadable", file=str(path), message="it is no JSON object")
    return document


def _registry_of(key: str) -> str:
    # Old versions of Docker wrote URLs where newer ones write hosts.
    host = key.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return DEFAULT_REGISTRY if host in {"index.docker.io", DEFAULT_REGISTRY} else host


def _from_entry(entry: dict[str, Json], path: Path) -> Credentials | None:
    values = _strings(entry)
    user, password = values.get("username", ""), values.get("password", "")
    if values.get("auth"):
        try:
            user, colon, password = base64.b64decode(values["auth"], validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            colon = ""
        if not colon:
            raise BuildFailed(
                "credentials-unreadable", file=str(path), message="an auth in it is no base64 of user:password"
            )
        password = password.rstrip("\0")
    token = values.get("identitytoken", "")
    if not user and not token:
        return None  # `docker login` leaves an empty entry behind when the secret went to a store
    return Credentials(user=user, password=password, identity_token=token)


def _ask(helper: str, server: str) -> Credentials | None:
    if not _HELPER_NAME.fullmatch(helper):
        raise BuildFailed(
            "credential-helper-failed", helper=helper[:80], registry=server, message="no name of a program"
        )
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "get"], input=server.encode(), capture_output=True, timeout=_HELPER_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = f"no answer for {_HELPER_S:g} s" if isinstance(error, subprocess.TimeoutExpired) else error.strerror
        raise BuildFailed("credential-helper-failed", helper=program, registry=server, message=why) from error
    if done.returncode != 0:
        # Helpers say this on stdout. Anything else that they wrote there could be a secret, and stays unsaid.
        if _NOTHING_SAVED in done.stdout.decode(errors="replace"):
            return None
        message = f"it ended with status {done.returncode}"
        raise BuildFailed("credential-helper-failed", helper=program, registry=server, message=message)
    try:
        values = _strings(json.loads(done.stdout))
    except ValueError as error:
        raise BuildFailed(
            "credential-helper-failed", helper=program, registry=server, message="its answer is no JSON"
        ) from error
    user, secret = values.get("Username", ""), values.get("Secret", "")
    if user == _TOKEN_USER:
        return Credentials(user=user, identity_token=secret)
    return Credentials(user=user, password=secret) if user else None


def _strings(value: Json) -> dict[str, str]:
    return {key: text for key, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}
