"""An instance's folder: its owner writes there, and is believed in nothing that matters."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from gitserver.targets.instance import MAX_REPORT_BYTES, NO_LIFE, Folder, Life, Note, read_plain, read_stat


def made(tmp_path: Path) -> Folder:
    folder = Folder(path=tmp_path / "r1")
    folder.make(None)
    return folder


def test_a_report_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    folder = made(tmp_path)
    (tmp_path / "secret").write_text('{"code": "x"}')
    folder.termination.symlink_to(tmp_path / "secret")
    assert folder.read_report(folder.termination) is None


def test_a_report_that_is_a_pipe_does_not_hold_anybody_up(tmp_path: Path) -> None:
    folder = made(tmp_path)
    os.mkfifo(folder.ready)
    assert folder.read_report(folder.ready) is None


def test_a_report_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(b"x" * (MAX_REPORT_BYTES + 10))
    assert len(read_plain(path)) == MAX_REPORT_BYTES


def test_a_report_that_is_no_object_is_none(tmp_path: Path) -> None:
    folder = made(tmp_path)
    for text in ("[]", "{", '"x"', ""):
        folder.ready.write_text(text)
        assert folder.read_report(folder.ready) is None


def test_the_tail_of_a_log_is_its_last_lines_without_empty_ones(tmp_path: Path) -> None:
    folder = made(tmp_path)
    folder.log.write_text("one\n\ntwo\nthree\n")
    assert folder.tail(2) == ("two", "three")


def test_a_published_socket_is_the_same_socket_at_a_place_of_ours(tmp_path: Path) -> None:
    folder = made(tmp_path)
    assert not folder.publish()
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as caller:
        listener.bind(str(folder.bind))
        listener.listen()
        assert folder.publish()
        caller.connect(str(folder.socket))
    assert sorted(path.name for path in folder.path.iterdir()) == ["io", "s"]


def test_sec_51_a_link_to_one_of_the_servers_own_sockets_is_not_published(tmp_path: Path) -> None:
    folder = made(tmp_path)
    with socket.socket(socket.AF_UNIX) as worker:
        worker.bind(str(tmp_path / "worker.sock"))
        (folder.io / "s").symlink_to(tmp_path / "worker.sock")
        assert not folder.publish()
    assert sorted(path.name for path in folder.path.iterdir()) == ["io"]


def test_a_path_too_long_for_a_sockets_address_is_said_so(tmp_path: Path) -> None:
    assert Folder(path=tmp_path / ("x" * 100)).bind is None


def test_sec_54_what_the_server_writes_there_is_private(tmp_path: Path) -> None:
    folder = made(tmp_path)
    os.close(folder.open_log())
    note(NO_LIFE).write(folder)
    assert oct(folder.log.stat().st_mode & 0o777) == "0o600"
    assert oct((folder.path / "instance.json").stat().st_mode & 0o777) == "0o600"
    assert oct(folder.io.stat().st_mode & 0o777) == "0o700"


def note(life: Life) -> Note:
    return Note(life=life, address="unix:/x", app_id=3, label="main b1", image_digest="sha256:0", facts={"load_s": 1})


def test_a_note_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    folder, life = made(tmp_path), Life(pid=os.getpid(), start_ticks=read_stat(os.getpid()) or 0)
    note(life).write(folder)
    assert Note.read(folder) == note(life)
    assert life.is_alive()


def test_a_pid_from_before_a_reboot_means_nobody(tmp_path: Path) -> None:
    folder = made(tmp_path)
    note(Life(pid=1, start_ticks=2)).write(folder)
    path = folder.path / "instance.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot": "another"}))
    read = Note.read(folder)
    assert read is not None
    assert read.life == NO_LIFE
    assert not read.life.is_alive()


def test_a_pid_that_came_back_is_somebody_else() -> None:
    assert not Life(pid=os.getpid(), start_ticks=1).is_alive()


def test_a_torn_note_is_no_note(tmp_path: Path) -> None:
    folder = made(tmp_path)
    (folder.path / "instance.json").write_text('{"pid": 1')
    assert Note.read(folder) is None
