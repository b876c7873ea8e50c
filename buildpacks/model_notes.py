"""An app's notes on its big model files: written after a build, handed to the next, so that unchanged ones stay closed.

They lie in the app's own cache folder. A build that runs code of strangers may report wrong facts; they are of this
app's files, checked for their shape, and never shown to another app.
"""

from __future__ import annotations

from pathlib import Path

from buildpacks.model.file import ModelFile
from buildpacks.model.notes import MAX_BYTES, parse_facts, render_facts
from buildpacks.order import BuildOrder

LABEL = "algo.model-facts"
VARIABLE = "ALGO_MODEL_FACTS"
_FILE = "model-facts.json"


def write_known(order: BuildOrder, folder: Path) -> dict[str, str]:
    """Leave in folder what is known of the order's big files; the variable that tells detection where. {} for none."""
    if not order.big_files:
        return {}
    by_oid = _read(order)
    known = {path: by_oid[big.git_oid] for path, big in order.big_files.items() if big.git_oid in by_oid}
    wanted = "\n".join(sorted(order.big_files))
    (folder / _FILE).write_text(render_facts(known))
    (folder / "big-files.txt").write_text(wanted, encoding="utf-8", errors="surrogateescape")
    return {VARIABLE: str(folder)}


def save_known(order: BuildOrder, label: str) -> None:
    """Note what detection reported. Only files of this order count, and notes on files that are gone are dropped."""
    reported = parse_facts(label)
    if not reported:
        return
    by_oid = _read(order)
    oids = {path: big.git_oid for path, big in order.big_files.items()}
    fresh: dict[str, ModelFile | None] = {oid: by_oid[oid] for oid in oids.values() if oid in by_oid}
    fresh |= {oids[path]: found for path, found in reported.items() if path in oids}
    text = render_facts(fresh)
    if len(text) > MAX_BYTES:
        return
    draft = order.cache_dir / f"{_FILE}.new"
    draft.write_text(text)
    draft.replace(order.cache_dir / _FILE)


def _read(order: BuildOrder) -> dict[str, ModelFile | None]:
    try:
        return parse_facts((order.cache_dir / _FILE).read_text())
    except (FileNotFoundError, UnicodeDecodeError):
        return {}
