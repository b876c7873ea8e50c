"""The TOML writer: what tomllib reads back is what was given."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildpacks.lifecycle.toml_writer import render_toml

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALAR = TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=20
)


@given(st.dictionaries(TEXT, VALUE, max_size=5))
def test_any_document_reads_back_as_it_was(document: dict[str, object]) -> None:
    assert tomllib.loads(render_toml(document)) == document


def test_tables_are_written_as_people_write_them() -> None:
    text = render_toml({"types": {"launch": True}, "entries": [{"name": "a"}, {"name": "b"}], "top": 1})
    assert text == 'top = 1\n\n[types]\nlaunch = true\n\n[[entries]]\nname = "a"\n\n[[entries]]\nname = "b"\n'


def test_nothing_is_the_empty_document() -> None:
    assert render_toml({}) == ""


def test_null_is_refused_for_toml_has_none() -> None:
    with pytest.raises(TypeError, match="no TOML form for NoneType"):
        render_toml({"a": None})
