"""Raw requests that two servers could read in two ways, as files.

NAME.request holds the bytes, NAME.expected the statuses of the answers and whether the connection stays open.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway_house import House, make_answer, open_house, read_request

CORPUS = Path(__file__).parent / "gateway_corpus"
CASES = sorted(path.stem for path in CORPUS.glob("*.request"))


@pytest.fixture(scope="module")
def seen() -> list[bytes]:
    """Request lines that reached the model."""
    return []


@pytest.fixture(scope="module")
def house(seen: list[bytes]) -> Iterator[House]:
    async def remember(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            line, _, _ = await read_request(reader)
            seen.append(line)
            writer.write(make_answer(b"{}"))

    with open_house() as opened:
        opened.serve("b3", remember)
        yield opened


@pytest.mark.parametrize("case", CASES)
def test_sec_49_the_corpus_is_answered_as_written_beside_it(house: House, seen: list[bytes], case: str) -> None:
    *expected, end = (CORPUS / f"{case}.expected").read_text().split()
    seen.clear()
    with house.connect() as connection:
        connection.sendall((CORPUS / f"{case}.request").read_bytes())
        answers = b""
        while len(statuses := re.findall(rb"(?:^|\n|\})HTTP/1\.1 (\d{3}) ", answers)) < len(expected):
            data = connection.recv(65536)
            assert data, answers
            answers += data
        if end == "closed":  # what cannot be understood ends the connection: nothing after it is believed
            while data := connection.recv(65536):
                answers += data
            assert b"Connection: close" in answers
        else:
            connection.settimeout(0.05)
            with pytest.raises(TimeoutError):
                connection.recv(1)
    assert [status.decode() for status in statuses] == expected
    assert not [line for line in seen if b"smuggled" in line]
    if "200" not in expected:
        assert not seen or case.startswith(("chunk", "trailer"))  # a body's framing breaks after its head has gone
