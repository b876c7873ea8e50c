"""The audit: one row a line, whatever is in it."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

from gitserver.accounts.audit import Audit

HOSTILE = ["a\nb", "a\r\nb", "\u2028", "\x1b[2J", "\x00", '","actor":"root"}\n{"x":"', "\udcff", "é" * 5000]


def at() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)


def test_sec_61_hostile_text_stays_one_row(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit.jsonl", at)
    for text in HOSTILE:
        audit.write("app.create", actor=text, app=text)
    lines = (tmp_path / "audit.jsonl").read_bytes().split(b"\n")
    assert len(lines) == len(HOSTILE) + 1
    assert lines[-1] == b""
    assert all(32 <= byte < 127 for line in lines for byte in line)
    assert [json.loads(line)["app"] for line in lines[:-2]] == HOSTILE[:-1]


def test_a_row_says_when_what_and_who(tmp_path: Path) -> None:
    Audit(tmp_path / "audit.jsonl", at).write("app.access", actor="alice", before=False, after=True)
    assert (tmp_path / "audit.jsonl").read_text() == (
        '{"at": "2026-01-01T00:00:00+00:00", "action": "app.access", "actor": "alice", "before": false, '
        '"after": true}\n'
    )


def test_sec_54_the_audit_is_readable_by_the_server_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        Audit(tmp_path / "audit.jsonl", at).write("x", actor="y")
    finally:
        os.umask(old)
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600


def _write_many(path: Path, name: str) -> None:
    audit = Audit(path, at)
    for _ in range(50):
        audit.write("x", actor=name, text=name * 500)


def test_rows_of_two_processes_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    context = get_context("spawn")
    children = [context.Process(target=_write_many, args=(path, name)) for name in "ab"]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
        child.close()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 100
    assert all(set(row["text"]) == {row["actor"]} for row in rows)
