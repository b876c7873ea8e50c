"""The OpenAPI document, made from the same registry that routes the calls."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gitserver.errors import Json
from gitserver.web import schema as s
from gitserver.web.routes import Access, Answer, Call, Registry, Route

registry = Registry()
_PARAMETER = re.compile(r"<(?:(?P<converter>[a-z]+):)?(?P<name>[a-z_]+)>")
_BINARY: dict[str, Json] = {"type": "string", "format": "binary"}
_ERROR: dict[str, Json] = {
    "type": "object",
    "required": ["error", "title", "next", "move", "code", "fields", "log"],
    "properties": {
        "error": {"type": "string", "description": "what happened"},
        "title": {"type": "string", "description": "the same in a few words"},
        "next": {"type": "string", "description": "what to do, with the command to type"},
        "move": {"type": "string", "enum": ["pusher", "operator", "nobody"], "description": "whose move is next"},
        "code": {"type": "string", "description": "stable name of the failure"},
        "fields": {"type": "object", "description": "the facts of the sentence"},
        "log": {"type": "array", "items": {"type": "string"}, "description": "last lines of a crashed process"},
    },
}


@registry.route("GET", "/api/v1/openapi.json", Access.ANYONE, answers=s.mapping({}))
def openapi(_: Call) -> Answer:
    """This document"""
    from gitserver.web.api import all_routes  # the registry of registries, which imports this module

    return Answer(document=render_openapi(all_routes()))


def render_openapi(routes: Sequence[Route]) -> dict[str, Json]:
    """OpenAPI 3.0 of these routes. Source  OpenAPI Specification 3.0.3; 3.0 because `nullable` is read everywhere."""
    paths: dict[str, Json] = {}
    for route in routes:
        operations = paths.setdefault(_PARAMETER.sub(r"{\g<name>}", route.path), {})
        assert isinstance(operations, dict)
        operations[route.method.lower()] = _operation(route)
    schemes: dict[str, Json] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "basic": {"type": "http", "scheme": "basic", "description": "any user name, the token as password"},
    }
    return {
        "openapi": "3.0.3",
        "info": {"title": "algo management API", "version": "1"},
        "paths": paths,
        "components": {"securitySchemes": schemes, "schemas": {"Error": _ERROR}},
    }


def _operation(route: Route) -> Json:
    path_parameters: list[Json] = [
        {
            "name": match["name"], "in": "path", "required": True,
            "schema": {"type": "integer" if match["converter"] == "int" else "string"},
        }
        for match in _PARAMETER.finditer(route.path)
    ]  # fmt: skip
    query_parameters: list[Json] = [
        {"name": name, "in": "query", "required": False, "schema": dict(schema)} for name, schema in route.query.items()
    ]
    media: Json = (
        {route.media: {"schema": {"type": "string"} if route.media == "text/plain" else _BINARY}}
        if route.answers is None
        else {"application/json": {"schema": dict(route.answers)}}
    )
    error: Json = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    operation: dict[str, Json] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": f"Access: {route.access.value}.",
        "parameters": path_parameters + query_parameters,
        "security": [] if route.access is Access.ANYONE else [{"bearer": []}, {"basic": []}],
        "responses": {
            str(route.status): {"description": "done", "content": media},
            "default": {"description": "a failure in words", "content": error},
        },
    }
    if route.takes is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": dict(route.takes)}}}
    return operation
