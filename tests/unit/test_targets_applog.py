"""One log an app: lines arrive whole, once, marked, and bounded."""

from __future__ import annotations

import re
from pathlib import Path

from gitserver.targets.applog import MAX_LINE_BYTES, MAX_LOG_BYTES, AppLog


def pulled(tmp_path: Path, log: AppLog, data: bytes, *, ended: bool = False) -> list[str]:
    source = tmp_path / "i" / "log"
    source.parent.mkdir(exist_ok=True)
    with source.open("ab") as file:
        file.write(data)
    log.pull(7, "main b1", source, ended=ended)
    path = tmp_path / "7.log"
    return [line.split(" ", 1)[1] for line in path.read_text().splitlines()] if path.exists() else []


def make(tmp_path: Path) -> AppLog:
    return AppLog(lambda app_id: tmp_path / f"{app_id}.log")


def test_each_line_carries_its_time_and_its_release(tmp_path: Path) -> None:
    make(tmp_path).event(7, "main b1", "ended")
    line = (tmp_path / "7.log").read_text()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \[main b1\] ended\n", line)


def test_a_line_under_way_waits_for_its_end(tmp_path: Path) -> None:
    log = make(tmp_path)
    assert pulled(tmp_path, log, b"one\ntw") == ["[main b1] one"]
    assert pulled(tmp_path, log, b"o\n") == ["[main b1] one", "[main b1] two"]


def test_the_last_words_of_a_process_need_no_end(tmp_path: Path) -> None:
    assert pulled(tmp_path, make(tmp_path), b"one\nlast words", ended=True) == ["[main b1] one", "[main b1] last words"]


def test_another_worker_goes_on_where_the_first_one_was(tmp_path: Path) -> None:
    pulled(tmp_path, make(tmp_path), b"one\n")
    assert pulled(tmp_path, make(tmp_path), b"two\n") == ["[main b1] one", "[main b1] two"]


def test_sec_08_control_bytes_do_not_reach_a_terminal(tmp_path: Path) -> None:
    assert pulled(tmp_path, make(tmp_path), b"\x1b[31mred\x07\ttab\r\n") == ["[main b1] [31mred\ttab"]


def test_all_that_is_left_is_read_at_the_end(tmp_path: Path) -> None:
    lines = pulled(tmp_path, make(tmp_path), b"x" * 99 + b"\n", ended=True)
    many = b"".join(b"%099d\n" % number for number in range(20_000))  # 2 MB: more than one look takes
    lines = pulled(tmp_path, make(tmp_path), many, ended=True)
    assert len(lines) == 20_001


def test_a_line_without_end_is_cut(tmp_path: Path) -> None:
    lines = pulled(tmp_path, make(tmp_path), b"x" * 300_000 + b"\n", ended=True)
    assert max(len(line) for line in lines) == MAX_LINE_BYTES + len("[main b1] ")


def test_a_flood_is_left_out_and_said(tmp_path: Path) -> None:
    lines = pulled(tmp_path, make(tmp_path), b"y" * 99 + b"\n" + b"x" * (MAX_LOG_BYTES + 10), ended=True)
    assert re.fullmatch(r"\[main b1\] \(\d+ bytes of output left out\)", lines[0])


def test_an_instances_own_file_is_cut_once_it_was_read(tmp_path: Path) -> None:
    log, source = make(tmp_path), tmp_path / "i" / "log"
    for _ in range(3):
        pulled(tmp_path, log, (b"x" * 999 + b"\n") * 4000, ended=True)
    assert source.stat().st_size == 0
    assert (tmp_path / "7.log.1").exists()
    assert pulled(tmp_path, log, b"after\n")[-1] == "[main b1] after"


def test_sec_54_the_log_is_private(tmp_path: Path) -> None:
    make(tmp_path).event(7, "main b1", "x")
    assert oct((tmp_path / "7.log").stat().st_mode & 0o777) == "0o600"
