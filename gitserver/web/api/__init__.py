"""The management API, one module a subject."""

from __future__ import annotations

from gitserver.web.api import (
    access,
    apps,
    builds,
    collections,
    config,
    images,
    keys,
    logs,
    previews,
    releases,
    service,
    stacks,
    tokens,
)
from gitserver.web.api.openapi import registry as openapi_registry
from gitserver.web.routes import Route


def all_routes() -> list[Route]:
    """Every route of the API, in the order of its documentation."""
    subjects = [
        service.registry, apps.registry, access.registry, builds.registry, releases.registry, previews.registry,
        images.registry, stacks.registry, config.registry, logs.registry, keys.registry, tokens.registry,
        collections.registry, openapi_registry,
    ]  # fmt: skip
    return [route for registry in subjects for route in registry.routes]
