"""`/cnb/process/<type>` of an image with several process types: who runs the image alone can start any of them.  Pure.

    docker run --entrypoint /cnb/process/worker IMAGE [ARGS]

The specification has links to its launcher there. Here nothing runs before an application (docs/decisions/0019), so
each is a script of a few lines that becomes the process. Images with one process have none: theirs is the ENTRYPOINT.

Source  buildpacks/spec platform.md 0.15, "launcher"
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from buildpacks.image.document import table
from buildpacks.order import Json

FOLDER = "cnb/process"


def process_scripts(doc: Mapping[str, Json]) -> dict[str, bytes]:
    """Path in the image -> script, of every process type that the document's launch tells apart."""
    types = table(table(doc.get("launch")).get("types"))
    return {f"{FOLDER}/{kind}": _script(table(start)) for kind, start in sorted(types.items())}


def _script(start: Mapping[str, Json]) -> bytes:
    # env and not export: names of variables are any text.
    changes = [word for name in _texts(start.get("without")) for word in ("-u", name)]
    changes += [f"{name}={value}" for name, value in sorted(table(start.get("env")).items())]
    command = [*(["env", *changes] if changes else []), *_texts(start.get("argv"))]
    lines = ["#!/bin/sh", f"cd {shlex.quote(str(start.get('cwd')))} || exit"]
    if args := _texts(start.get("args")):
        lines.append(f"[ $# -gt 0 ] || set -- {shlex.join(args)}")
    lines.append(f'exec {shlex.join(command)} "$@"')
    return ("\n".join(lines) + "\n").encode(errors="surrogateescape")


def _texts(value: Json) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
