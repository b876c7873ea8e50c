"""The management API, one module a subject."""

from __future__ import annotations

from gitserver.web.api import access, apps, builds, config, keys, logs, previews, releases, service, tokens
from gitserver.web.api.openapi import registry as openapi_registry
from gitserver.web.routes import Route


def all_routes() -> list[Route]:
    """Every route of the API, in the order of its documentation."""
    subjects = [
        service.registry, apps.registry, access.registry, builds.registry, releases.registry, previews.registry,
        config.registry, logs.registry, keys.registry, tokens.registry, openapi_registry,
    ]  # fmt: skip
    return [route for registry in subjects for route in registry.routes]
