"""The part of YAML that is read: what MLflow's emitter writes, what people write into cog.yaml, and hostile text."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildpacks.yaml_subset import NotRead, parse_yaml


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("", None),
        ("# nothing\n---\n", None),
        ("a: 1 # one\nb: 'x # y' # z's\n", {"a": "1", "b": "x # y"}),
        ("a:\n- x\n- y\nb: z\n", {"a": ["x", "y"], "b": "z"}),
        ("a:\n  b:\n    - x\n  c: 3.10\nd: [p, 'q']\n", {"a": {"b": ["x"], "c": "3.10"}, "d": ["p", "q"]}),
        ("---\na: |\n  # some text\n\n    more\nb: 2\n", {"a": "# some text\n\n  more\n", "b": "2"}),
        ("a: >-\n  one\n  two\nb: x\n", {"a": "one two", "b": "x"}),
        ("a:\n  - k: v\n    w: z\n  - u\nb: 1\n", {"a": [{"k": "v", "w": "z"}, "u"], "b": "1"}),
        ("a: [\n  x==1,  # one\n  'y, z',\n]\nb: {max: 4, c: [d]}\n",
         {"a": ["x==1", "y, z"], "b": {"max": "4", "c": ["d"]}}),
        ("a: &base\n  b: true\nc: *base\nd: !env x\n", {"a": {"b": "true"}, "c": "*base", "d": "x"}),
        ("run:\n  - pip install https://x.org/y\n  - command: |\n      set -e\n      make\n",
         {"run": ["pip install https://x.org/y", {"command": "set -e\nmake\n"}]}),
        ("a: ~\nb:\n", {"a": None, "b": None}),
    ],
)  # fmt: skip
def test_configuration_that_people_write_is_read_with_its_scalars_as_text(text: str, document: object) -> None:
    assert parse_yaml(text.encode(), as_text=True) == document


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("a: 1\nb: true\nc: null\nd: 1.5\ne: '2'\nf: []\ng: {}\n",
         {"a": 1, "b": True, "c": None, "d": "1.5", "e": "2", "f": [], "g": {}}),
        ("s:\n  inputs: '[{\"name\": \"a\"},\n    {\"name\": \"it''s\"}]'\n",
         {"s": {"inputs": '[{"name": "a"}, {"name": "it\'s"}]'}}),
        ('a: "one \\\n  two\\u00e9"\nb: plain\n  goes on\n', {"a": "one two\u00e9", "b": "plain goes on"}),
        ("'a b': x\n\"c: d\": y\n", {"a b": "x", "c: d": "y"}),
        ("- - 1\n  - 2\n- a: 3\n", [[1, 2], {"a": 3}]),
    ],
)  # fmt: skip
def test_what_tools_write_is_read_with_its_types(text: str, document: object) -> None:
    assert parse_yaml(text.encode()) == document


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: *b\n", "line 1 has more of YAML than is read here: *b"),
        ("a:\n\tb: 1\n", "line 2 is indented with a tab"),
        ("a: 1\n   b: 2\n", "line 2 is indented too far"),
        ("a: 'x\n", "line 1 has a quote without an end"),
        ("a: 'x' y\n", "line 1 goes on behind its quote: 'x' y"),
        ("a: [x\n", "line 1 opens a bracket that nothing closes"),
        ("a: [x: y]\n", "line 1 lacks a comma or a ']'"),
        ("a: [x] y\n", "line 1 goes on behind its brackets"),
        ("- a\nb: c\n", "line 2 belongs to nothing"),
        ("a: " + "[" * 50 + "\n", "line 1 is too deep"),
    ],
)
def test_what_is_not_read_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(NotRead) as refused:
        parse_yaml(text.encode())
    assert str(refused.value) == message


@given(st.one_of(st.binary(max_size=200), st.text("ab:-[]{}'\"#&*|>,\\ \n\t", max_size=60).map(str.encode)))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for as_text in (False, True):
        with suppress(NotRead):
            parse_yaml(data, as_text=as_text)


@pytest.mark.parametrize(
    "text",
    ["a" + " " * 900_000 + "b\n", "a: '" + "x\n  " * 19_000, "a: [" + "b " * 400_000, "- " * 400_000,
     "a: x\n" + " b\n" * 19_000, "a: " + "'" * 900_001, 'a: "' + "\\" * 900_001],
    ids=["spaces", "quote", "flow", "dashes", "plain", "quotes", "backslashes"],
)  # fmt: skip
def test_a_hostile_file_costs_no_more_than_its_length(text: str) -> None:
    started = time.process_time()
    with suppress(NotRead):
        parse_yaml(text.encode())
    assert time.process_time() - started < 2
