"""Heroku's app.json: what it asks for is said, never done unasked.

Source  https://devcenter.heroku.com/articles/app-json-schema
"""

from __future__ import annotations

import json

MAX_BYTES = 256 * 1024


def notes_of(app: str) -> list[str]:
    """Lines for the push; none without app.json, and none for an app.json of another kind (Expo has one, too)."""
    try:
        with open(f"{app}/app.json", "rb") as file:
            document = json.loads(file.read(MAX_BYTES).decode("utf-8-sig", "replace"))
    except (OSError, ValueError, RecursionError):
        return []
    if not isinstance(document, dict):
        return []
    notes = []
    env = document.get("env")
    if isinstance(env, dict) and env:
        settings = [f"{name}={value}" if value is not None else name for name, value in _defaults(env)]
        shown = " ".join(settings[:8])
        notes.append(f"app.json names configuration that is not set by itself: algo config set {shown}")
    packs = document.get("buildpacks")
    urls = [str(pack.get("url")) for pack in packs if isinstance(pack, dict)] if isinstance(packs, list) else []
    if urls:
        notes.append(f"app.json names the buildpacks {', '.join(urls[:8])}: not read; .buildpacks chooses them here")
    scripts = document.get("scripts")
    if isinstance(scripts, dict) and scripts.get("postdeploy"):
        notes.append("app.json has a postdeploy script, which is not run; a release: line of the Procfile is")
    return notes


def _defaults(env: dict[str, object]) -> list[tuple[str, str | None]]:
    """Names with their defaults. One without a default, or that a generator makes up, stands alone."""
    found: list[tuple[str, str | None]] = []
    for name, entry in sorted(env.items()):
        value = entry.get("value") if isinstance(entry, dict) else entry
        found.append((name, value if isinstance(value, str) and " " not in value else None))
    return found
