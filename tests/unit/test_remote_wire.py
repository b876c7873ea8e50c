"""Requests, reports, sidebands and SSH command lines: bytes in, bytes out."""

from __future__ import annotations

import io
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitserver.errors import Problem
from gitserver.remote.advertise import make_advertisement
from gitserver.remote.httpwire import HttpWire
from gitserver.remote.objects import PktReader, make_pkt
from gitserver.remote.refs import Ref
from gitserver.remote.report import RefReport, make_report
from gitserver.remote.request import Command, parse_options, read_request
from gitserver.remote.sideband import Sideband, clean_line, clean_text
from gitserver.remote.sshcommand import parse_ssh_command

ZERO, A, B = "0" * 40, "a" * 40, "b" * 40


def _reader(data: bytes) -> PktReader:
    return PktReader(io.BytesIO(data).read)


def _request(*lines: bytes, options: tuple[bytes, ...] | None = None, rest: bytes = b"") -> bytes:
    data = b"".join(map(make_pkt, lines)) + b"0000"
    if options is not None:
        data += b"".join(map(make_pkt, options)) + b"0000"
    return data + rest


def test_a_request_is_read_up_to_the_byte_before_the_pack() -> None:
    stream = io.BytesIO(
        _request(
            f"shallow {B}".encode(), f"{ZERO} {A} refs/heads/main\0report-status push-options agent=x".encode(),
            f"{A} {ZERO} refs/heads/x\n".encode(), options=(b"with-config\n",), rest=b"PACK",
        )
    )  # fmt: skip
    request = read_request(PktReader(stream.read))
    assert request is not None
    assert request.shallow == (B,)
    assert [command.git_ref for command in request.commands] == [b"refs/heads/main", b"refs/heads/x"]
    assert request.commands[1].is_delete
    assert request.options == (b"with-config",)
    assert request.wants(b"report-status")
    assert request.expects_pack
    assert stream.read() == b"PACK"


@pytest.mark.parametrize("data", [b"0000", b""])
def test_f13_a_flush_or_the_end_is_nothing_to_push(data: bytes) -> None:
    assert read_request(_reader(data)) is None


def test_a_client_that_leaves_in_the_middle_is_an_eof() -> None:
    with pytest.raises(EOFError):
        read_request(_reader(make_pkt(f"{ZERO} {A} refs/heads/main\0".encode())))


@pytest.mark.parametrize("line", [b"x", b"a b c", b"0" * 40 + b" " + b"g" * 40 + b" refs/heads/main", b"shallow x"])
def test_a_malformed_command_is_refused(line: bytes) -> None:
    with pytest.raises(Problem) as caught:
        read_request(_reader(_request(line)))
    assert caught.value.failure.code == "bad-command"


def test_another_object_format_is_refused_for_every_ref() -> None:
    request = read_request(_reader(_request(f"{ZERO} {A} refs/heads/main\0object-format=sha256".encode())))
    assert request is not None
    assert request.problem is not None
    assert request.problem.failure.code == "bad-object-format"


@pytest.mark.parametrize("option", [b"repo.private=false", b"with-config=1", b"with-config\r\nX: y", b"", b"\xff"])
def test_sec_07_only_whole_known_words_are_options(option: bytes) -> None:
    with pytest.raises(Problem) as caught:
        parse_options([option])
    assert caught.value.failure.code == "bad-push-option"


@given(st.binary(max_size=200))
def test_no_bytes_break_the_request_reader(data: bytes) -> None:
    try:
        read_request(_reader(data))
    except (Problem, EOFError):
        pass


def test_p2_an_empty_repository_advertises_its_capabilities() -> None:
    assert make_advertisement({}).startswith(b"00c2" + ZERO.encode() + b" capabilities^{}\0report-status ")


def test_f21_tags_are_told_as_haves_once() -> None:
    refs = {"refs/heads/main": Ref(oid=A, peeled=A), "refs/tags/v1": Ref(oid=B, peeled=A)}
    advertisement = make_advertisement(refs)
    assert advertisement.endswith(f"0033{B} .have\n0000".encode())
    assert advertisement.count(b".have") == 1


def test_a_report_says_what_moved_instead_of_the_ref() -> None:
    command = Command(git_ref=b"refs/tags/v1", old=ZERO, new=B)
    report = RefReport(command=command, cause="", old=B, new=A)
    expected = [
        b"unpack ok\n",
        b"ok refs/tags/v1\n",
        f"option old-oid {B}\n".encode(),
        f"option new-oid {A}\n".encode(),
    ]
    assert make_report([report], unpack_error="", is_v2=True) == b"".join(map(make_pkt, expected)) + b"0000"
    assert make_report([report], unpack_error="", is_v2=False) == b"".join(map(make_pkt, expected[:2])) + b"0000"


def test_sec_08_a_refusal_is_one_line_without_control() -> None:
    report = RefReport(command=Command(git_ref=b"refs/heads/main", old=ZERO, new=A), cause="a\nb\x1b[2J\rc\x07")
    assert b"ng refs/heads/main a b[2J c\n" in make_report([report], unpack_error="", is_v2=True)


def test_sec_08_text_keeps_newline_return_and_tab_and_nothing_else_below_space() -> None:
    everything = bytes(range(256))
    kept = clean_text(everything[:128])
    assert kept == b"\t\n\r" + bytes(range(0x20, 0x7F))
    assert clean_text("csi \x9b2J ü".encode()) == "csi 2J ü".encode()
    assert clean_text(b"\x9b") == "�".encode()
    assert clean_line(" a \t b\n") == "a b"


def _sideband(written: list[bytes], *, is_multiplexed: bool = True, keepalive_s: float = 5.0) -> Sideband:
    return Sideband(written.append, is_multiplexed=is_multiplexed, keepalive_s=keepalive_s)


def test_b9_packets_are_cut_at_lines_and_the_rest_waits() -> None:
    written: list[bytes] = []
    sideband = _sideband(written)
    sideband.progress(b"one\ntw")
    sideband.progress(b"o\n")
    sideband.progress(b"three")
    sideband.report(b"0000")
    assert written == [b"0009\x02one\n", b"0009\x02two\n", b"000b\x02three\n", b"0009\x010000", b"0000"]


def test_b9_a_packet_is_never_longer_than_git_reads() -> None:
    written: list[bytes] = []
    sideband = _sideband(written)
    sideband.progress(b"x" * 200_000 + b"\n")
    sideband.stop()
    assert max(map(len, written)) <= 32 * 1024 + 5
    assert sum(len(packet) - 5 for packet in written) == 200_001


def test_f11_silence_is_filled_and_ends_with_the_report() -> None:
    written: list[bytes] = []
    sideband = _sideband(written, keepalive_s=0.05)
    time.sleep(0.3)
    sideband.report(b"")
    count = len(written)
    time.sleep(0.2)
    assert len(written) == count
    assert written[0] == b"0005\x01"
    assert written[-1] == b"0000"


def test_a_client_that_is_gone_is_a_fact_and_not_an_error() -> None:
    def broken(_: bytes) -> None:
        raise BrokenPipeError

    sideband = Sideband(broken, is_multiplexed=True, keepalive_s=5)
    sideband.line("hello")
    sideband.report(b"")
    assert sideband.is_gone


def test_b10_without_a_sideband_the_tail_is_kept() -> None:
    written: list[bytes] = []
    sideband = _sideband(written, is_multiplexed=False)
    sideband.progress(b"line\n" * 100_000)
    sideband.line("last")
    assert sideband.take_tail()[-1] == "last"
    assert sideband.take_tail() == []
    sideband.report(b"REPORT")
    assert written == [b"REPORT"]


def test_http_answers_only_after_the_body_was_read_and_holds_a_fast_writer() -> None:
    body = io.BytesIO(b"x" * 10)
    wire = HttpWire(body.read, None)
    for _ in range(200):
        wire.write(b"early")
    answered: list[bytes] = []
    reader = threading.Thread(target=lambda: answered.extend(wire.answer()))
    reader.start()
    time.sleep(0.05)
    assert answered == []
    wire.finish()
    reader.join(5)
    assert b"".join(answered) == b"early" * 200


def test_http_tells_the_writer_when_nobody_takes_the_answer() -> None:
    wire = HttpWire(lambda _: b"", None)
    wire.close_read()
    answer = wire.answer()
    wire.write(b"one")
    assert next(iter(answer)) == b"one"
    answer.close()  # type: ignore[attr-defined]  # a generator, as every WSGI server closes it
    with pytest.raises(BrokenPipeError):
        wire.write(b"two")


@pytest.mark.parametrize(
    "line",
    ["git-receive-pack '/alice/iris.git'", "git receive-pack 'alice/iris'", "git-receive-pack /alice/iris.git"],
)
def test_the_grammar_of_ssh_commands(line: str) -> None:
    command = parse_ssh_command(line)
    assert (command.verb, str(command.app_name)) == ("receive-pack", "alice/iris")


@pytest.mark.parametrize(
    "line",
    [
        "", "git", "git-receive-pack", "git-receive-pack ", "git-receive-pack '/alice/iris.git' --x",
        "git-receive-pack --help", "git-upload-pack '/alice/iris.git'\n", "git-upload-pack '/alice/iris.git';id",
        "GIT-UPLOAD-PACK '/alice/iris'", "git-upload-pack \"/alice/iris\"", "git-upload-pack '/a'/'b'",
        "git-upload-pack '/alice/iris", "git-upload-pack\t'/alice/iris'", "git-upload-pack '/alice/i ris'",
        "git-upload-pack '/alice/iris.git.git'", "git-upload-pack '/alice'", "git-upload-pack '/alice/iris\0'",
    ],
)  # fmt: skip
def test_sec_04_everything_else_is_refused(line: str) -> None:
    with pytest.raises(Problem):
        parse_ssh_command(line)


@given(st.text(max_size=60))
def test_sec_04_no_text_starts_anything_by_accident(line: str) -> None:
    with pytest.raises(Problem):
        parse_ssh_command(f"git-upload-pack {line} ")
