"""The board as Prometheus text.

Source  https://prometheus.io/docs/instrumenting/exposition_formats/, text format 0.0.4
"""

from __future__ import annotations

from .board import BUCKETS_S, ROUTES, Board, proportional_bytes

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render_metrics(board: Board, model_name: str, version: str) -> bytes:
    """Counters and histograms over all workers, memory of each (proportional: shared pages are counted once)."""
    lines = _head("algo_requests_total", "counter", "Answers by route and status.")
    for (route, status), count in sorted(board.requests().items()):
        lines.append(f'algo_requests_total{{route="{route}",status="{status}"}} {count}')
    lines += _head("algo_request_seconds", "histogram", "Seconds from the request's head to its answer.")
    for route in ROUTES:
        counts, total_s = board.request_seconds(route)
        if sum(counts):
            lines += _histogram("algo_request_seconds", f'route="{route}"', counts, total_s)
    lines += _head("algo_predict_seconds", "histogram", "Seconds inside the model.")
    lines += _histogram("algo_predict_seconds", "", *board.predict_seconds())
    lines += _head("algo_requests_in_flight", "gauge", "Requests that run now.")
    lines.append(f"algo_requests_in_flight {board.all_in_flight()}")
    lines += _head("algo_workers_ready", "gauge", "Workers that are loaded and warm.")
    lines.append(f"algo_workers_ready {board.ready_count}")
    lines += _head(
        "algo_worker_memory_bytes", "gauge", "Memory of each worker, shared pages divided among their users."
    )
    lines += [f'algo_worker_memory_bytes{{pid="{pid}"}} {proportional_bytes(pid)}' for pid in board.pids()]
    lines += _head("algo_model_info", "gauge", "What is served.")
    lines.append(f'algo_model_info{{name="{_escaped(model_name)}",version="{_escaped(version)}"}} 1')
    return ("\n".join(lines) + "\n").encode()


def _head(name: str, kind: str, words: str) -> list[str]:
    return [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]


def _histogram(name: str, label: str, counts: list[int], total_s: float) -> list[str]:
    lines, seen, comma = [], 0, f"{label}," if label else ""
    for bound, count in zip([*map(str, BUCKETS_S), "+Inf"], counts, strict=True):
        seen += count
        lines.append(f'{name}_bucket{{{comma}le="{bound}"}} {seen}')
    braces = f"{{{label}}}" if label else ""
    return [*lines, f"{name}_sum{braces} {total_s:.9f}", f"{name}_count{braces} {seen}"]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
