"""Any image as a stack, in place of ours: from a file, a folder, or a registry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from buildpacks.order import BuildFailed
from buildpacks.stack.layout import add_layout
from buildpacks.stack.probe import describe
from buildpacks.stack.store import StackStore, parse_stack_name
from buildpacks.stack.values import BaseImage, Stack


class Puller(Protocol):
    """Brings an image of a registry into the store, with all of its blobs."""

    def pull(self, reference: str, store: StackStore) -> BaseImage:
        """The image for this machine's architecture. Raises BuildFailed with the words of the registry."""
        ...


def add_stack(
    name: str, *, run: str, build: str | None, store: StackStore, puller: Puller, log: Callable[[str], None]
) -> Stack:
    """Make a stack of two images and add it under name; build None: without one, nothing is built from source.

    run, build  a file or folder of this machine where there is one of that name, else a registry reference
    Raises      what add_layout, puller and describe raise; the store has no such stack then
    """
    parse_stack_name(name)
    images = [_bring(text, store, puller, log) if text is not None else None for text in (run, build)]
    run_image, build_image = images
    assert run_image is not None  # run is never None
    stack = describe(name, run_image, build_image, store)
    store.add(stack)
    return stack


def _bring(text: str, store: StackStore, puller: Puller, log: Callable[[str], None]) -> BaseImage:
    path = Path(text).expanduser()
    if path.exists():
        log(f"Reading {text}")
        return add_layout(path, store)
    if text.startswith(("/", "./", "../", "~")):  # no reference begins like that
        raise BuildFailed("stack-file-missing", path=text)
    log(f"Pulling {text}")
    image = puller.pull(text, store)
    store.add_image(image)
    return image
