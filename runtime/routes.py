"""Which address asks for what. The name and version are fixed, so every route but Algorithmia's is an exact path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import algorithmia, metrics, native, oip, pages, tfserving
from .refusal import Refused
from .service import Answer, Call, Service
from .usercontracts.invocations import find_invoke, invocations, ping

Handler = Callable[[Service, Call], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The handler for one method of one path. label: its name in metrics."""

    handler: Handler
    label: str


Table = Mapping[str, Mapping[str, Route]]


def make_table(service: Service) -> dict[str, dict[str, Route]]:
    """Path to method to route."""
    name, version = service.settings.model_name, service.settings.version
    table: dict[str, dict[str, Route]] = {}

    def add(method: str, path: str, handler: Handler, label: str) -> None:
        table.setdefault(path, {})[method] = Route(handler=handler, label=label)

    add("POST", "/predict", native.predict, "predict")
    for path in ("/healthz", "/livez"):
        add("GET", path, oip.live, "health")
    for path in ("/readyz", "/health"):
        add("GET", path, oip.ready, "health")
    add("GET", "/metrics", _metrics, "metrics")
    add("GET", "/", pages.index, "page")

    if find_invoke(service) is not None:
        add("GET", "/ping", ping, "health")
        add("POST", "/invocations", invocations, "predict")

    add("GET", "/v1/models", tfserving.model_list, "v1")
    for base in (f"/v1/models/{name}", f"/v1/models/{name}/versions/{version}"):
        add("GET", base, tfserving.model_status, "v1")
        add("GET", f"{base}/metadata", tfserving.metadata, "v1")
        add("POST", f"{base}:predict", tfserving.predict, "v1")

    for path in ("/v2", "/v2/"):
        add("GET", path, oip.server_metadata, "v2")
    add("GET", "/v2/health/live", oip.live, "health")
    add("GET", "/v2/health/ready", oip.ready, "health")
    add("GET", "/v2/models", tfserving.model_list, "v2")
    for base in (f"/v2/models/{name}", f"/v2/models/{name}/versions/{version}"):
        add("GET", base, oip.model_metadata, "v2")
        add("GET", f"{base}/ready", oip.model_ready, "v2")
        add("POST", f"{base}/infer", oip.infer, "v2")
    return table


def find_route(table: Table, service: Service, method: str, path: str) -> Route:
    """The route of a request. Raises Refused: 404 that names what exists, 405 with Allow."""
    methods = table.get(path) or _algorithmia_methods(service, path)
    if methods is None:
        raise Refused(404, _missing(service, path))
    route = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
    if route is None:
        allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
        raise Refused(405, f"{path} answers {allowed}", headers=[("Allow", allowed)])
    return route


def _algorithmia_methods(service: Service, path: str) -> Mapping[str, Route] | None:
    """/v1/algo/OWNER/NAME[/VERSION]: which version answers was decided by whoever routed the call here."""
    parts = path.split("/")
    if parts[:3] != ["", "v1", "algo"] or len(parts) not in (5, 6):
        return None
    owner, name = parts[3], parts[4]
    if name != service.settings.model_name or service.settings.owner not in ("", owner):
        return None
    return _ALGORITHMIA


def _missing(service: Service, path: str) -> str:
    name, version = service.settings.model_name, service.settings.version
    parts = path.split("/")
    if len(parts) > 3 and parts[1] in ("v1", "v2") and parts[2] == "models":
        asked = parts[3].partition(":")[0]
        if asked != name:
            return f"unknown model {asked!r}; this server has: {name}"
        if len(parts) > 5 and parts[4] == "versions" and parts[5].partition(":")[0] != version:
            return f"unknown version {parts[5].partition(':')[0]!r} of {name}; this server has: {version}"
    if parts[1:3] == ["v1", "algo"]:
        return f"unknown algorithm; this server has: /v1/algo/{service.settings.owner or 'OWNER'}/{name}"
    return (
        f"nothing answers at this path; there is: /predict, /v1/models/{name}:predict, /v2/models/{name}/infer, "
        f"/v1/algo/{service.settings.owner or 'OWNER'}/{name}, /healthz, /readyz, /metrics"
    )


def _metrics(service: Service, _call: Call) -> Answer:
    settings = service.settings
    body = metrics.render_metrics(service.board, settings.model_name, settings.version)
    return Answer(body=body, content_type=metrics.CONTENT_TYPE)


_ALGORITHMIA: Mapping[str, Route] = {"POST": Route(handler=algorithmia.call_algorithm, label="algo")}
