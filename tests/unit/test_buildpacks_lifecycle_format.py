"""The format number of image documents: a server does not guess at what a newer one wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildpacks.image.config import FORMAT, check_format, image_digest
from buildpacks.image.contents import outbound
from buildpacks.image.oci import image_id
from buildpacks.order import BuildFailed, Json
from buildpacks.words import WORDS
from tests.services.documents import make_shelf

NEWER: dict[str, Json] = {"format": FORMAT + 1}


def test_a_document_without_a_number_is_of_the_first_format_and_an_image_is_named_by_what_it_is(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path)
    old, new = shelf.document(), shelf.document() | {"format": FORMAT}
    check_format(old)
    assert image_id(old) == image_id(new)
    assert image_digest(old) == image_digest(new)


@pytest.mark.parametrize("found", [FORMAT + 1, 0, "1", True, None, [1]])
def test_what_another_server_may_have_meant_is_not_guessed(found: Json) -> None:
    with pytest.raises(BuildFailed) as caught:
        check_format({"format": found})
    assert caught.value.code == "image-format"
    assert f"has the format {found}" in WORDS["image-format"].body.format_map(caught.value.fields)


def test_an_image_of_a_newer_server_is_neither_assembled_nor_started(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path)
    doc = shelf.document() | NEWER
    for attempt in (lambda: outbound(doc, shelf.layers, shelf.stacks), lambda: shelf.layers.compose(doc, "sha256:0")):
        with pytest.raises(BuildFailed) as caught:
            attempt()
        assert caught.value.code == "image-format"
