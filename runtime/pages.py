"""Pages for people, by Flask: the status page at `/`.

Flask is imported at the first page, not at the start: it costs a third of a second, and machines never ask for pages.
A user's own `flask.py` may stand in its place by then; the page is then left out, and the JSON stays.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from .service import Answer, Call, Service, json_answer

_lock = threading.Lock()
_page_app: Any = None


def index(service: Service, call: Call) -> Answer:
    """Status as JSON, or the page for callers who ask for HTML."""
    if "text/html" in call.environ.get("HTTP_ACCEPT", ""):
        page = _find_page_app(service)
        if page is not None:
            return _through_flask(page, call)
    return json_answer(status_of(service))


def status_of(service: Service) -> dict[str, Any]:
    """What is served and where to ask it. `status: alive` is what KServe's V1 clients read."""
    settings, name = service.settings, service.settings.model_name
    return {
        "status": "alive",
        "name": name,
        "version": settings.version,
        "model": service.model.title,
        "ready": service.board.is_ready,
        "routes": ["/predict", f"/v1/models/{name}:predict", f"/v2/models/{name}/infer", "/healthz", "/metrics"],
    }


def _find_page_app(service: Service) -> Any:
    global _page_app  # noqa: PLW0603 -- one Flask application per process, made at first need
    with _lock:
        if _page_app is None:
            _page_app = _make_page_app(service) or False
    return _page_app or None


def _make_page_app(service: Service) -> Any:
    try:
        from flask import Flask, render_template_string
    except ImportError:
        return None
    app = Flask(__name__, static_folder=None, template_folder=None)

    def page() -> str:
        return render_template_string(_PAGE, **status_of(service))

    app.add_url_rule("/", "index", page)
    return app


def _through_flask(app: Any, call: Call) -> Answer:
    seen: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> None:
        seen[:] = [status, headers]

    chunks: Iterable[bytes] = app({**call.environ, "REQUEST_METHOD": "GET"}, start_response)
    body = b"".join(chunks)
    kind = next((value for name, value in seen[1] if name.lower() == "content-type"), "text/html; charset=utf-8")
    return Answer(status=int(seen[0].split()[0]), body=body, content_type=kind)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ name }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body><main><h1>{{ name }}</h1>
<p>{{ model }}, version {{ version }}, {{ "ready" if ready else "not ready" }}.</p>
<h2>Ask it</h2><ul>{% for route in routes %}<li><code>{{ route }}</code></li>{% endfor %}</ul>
</main></body></html>
"""
