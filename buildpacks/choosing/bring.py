"""From what an app asks for to buildpacks on disk: allowed, fetched once, named exactly.

    tree, settings -> choice -> allowed? -> folders -> one order

Nothing is fetched before every source of the choice was found to be allowed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from buildpacks.choosing.allowance import parse_allowance
from buildpacks.choosing.choice import choose
from buildpacks.choosing.descriptor import ProjectDescriptor, read_descriptor
from buildpacks.choosing.fetching import Bringer, Brought
from buildpacks.choosing.globs import keep_matching, parse_patterns, remove_matching
from buildpacks.choosing.packs import Pack
from buildpacks.choosing.values import Choice, Terms
from buildpacks.image.document import table, table_list
from buildpacks.lifecycle.descriptor import read_buildpack, read_order
from buildpacks.lifecycle.toml_writer import render_toml
from buildpacks.order import BuildFailed, BuildOrder, Json
from buildpacks.toolchain import BUILDPACKS_DIR

DOCUMENT_KEY = "choice"
SLUGIGNORE = ".slugignore"
_OWN = BUILDPACKS_DIR / "packs"
_MAX_IGNORE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A build's buildpacks, when the app chose them.

    groups    (id, version, optional) of each group of the order
    packs     buildpacks that are not this server's own
    document  what the image's document keeps of it, pins included
    """

    groups: tuple[tuple[tuple[str, str, bool], ...], ...]
    packs: tuple[Pack, ...]
    document: Mapping[str, Json]

    @property
    def is_foreign(self) -> bool:
        """Whether code runs that is not this server's: the attempt is not to be trusted, then."""
        return bool(self.packs)

    @property
    def is_classic(self) -> bool:
        """Whether one of them speaks the classic API."""
        return any(pack.is_classic for pack in self.packs)

    def render_order(self) -> str:
        """An order.toml."""
        groups = [
            {"group": [{"id": name, "version": version, "optional": optional} for name, version, optional in group]}
            for group in self.groups
        ]
        return render_toml({"order": groups})


@functools.cache
def own_versions() -> Mapping[str, str]:
    """id -> version of the buildpacks that come with this server."""
    packs = [read_buildpack(str(path.parent)) for path in sorted(_OWN.glob("*/buildpack.toml"))]
    return {pack.id: pack.version for pack in packs}


def bring(order: BuildOrder, log: Callable[[str], None]) -> Chosen | None:
    """What the app chose, fetched; None when it leaves the choice to detection. Says so in one line of the log.

    Files that project.toml or .slugignore leave out are removed from order.app_dir.
    Raises  BuildFailed: every code of choosing_words
    """
    own = own_versions()
    project = read_descriptor(order.app_dir, own)
    _tell_untold(project, log)
    choice = choose(order.app_dir, project, order.platform_env, own)
    if choice is None:
        _select_files(order.app_dir, project, log)
        return None
    terms = order.terms or Terms()
    allowance = parse_allowance(terms.allowed)
    for source in choice.every:
        allowance.check(source)
    bringer = Bringer(order, terms, own, log)
    chosen = _chosen(choice, _with_own_names([bringer.bring(source) for source in choice.every]), own)
    _tell(choice, chosen, log)
    # After the folders were taken: a buildpack in the repository may be among the files that the app leaves out.
    _select_files(order.app_dir, project, log)
    if chosen.is_classic:
        _apply_slugignore(order.app_dir, log)
    return chosen


def pins_of(config: Mapping[str, Json] | None) -> dict[str, str]:
    """text of a source -> commit or digest, as an image's document recorded them."""
    sources = table_list(table((config or {}).get(DOCUMENT_KEY)).get("sources"))
    return {str(item["asked"]): str(item["pin"]) for item in sources if item.get("pin") and "asked" in item}


def _with_own_names(brought: Sequence[Brought]) -> list[Brought]:
    """Two classic buildpacks of one name are two: their names come from their addresses, and nothing else tells."""
    seen: dict[str, int] = {}
    found = []
    for item in brought:
        pack = item.pack
        if pack is not None and pack.is_classic:
            seen[pack.id] = seen.get(pack.id, 0) + 1
            if seen[pack.id] > 1:
                pack = replace(pack, id=f"{pack.id}-{seen[pack.id]}")
                item = replace(item, pack=pack, packs=(pack,))  # noqa: PLW2901 -- the same item under its own name
        found.append(item)
    return found


def _chosen(choice: Choice, brought: Sequence[Brought], own: Mapping[str, str]) -> Chosen:
    entries = [(item.id, item.version, False) for item in brought]
    before, after = len(choice.pre), len(choice.pre) + len(choice.sources)
    if choice.sources:
        groups = [tuple(entries)]
    else:
        groups = [
            (*entries[:before], *((e.id, e.version or own.get(e.id, ""), e.optional) for e in group), *entries[after:])
            for group in read_order(str(_OWN / "order.toml"))
        ]
    packs = _every_pack(brought)
    sources: list[Json] = [
        {"asked": item.source.text, "id": item.id, "version": item.version, "pin": item.pin} for item in brought
    ]
    return Chosen(groups=tuple(groups), packs=tuple(packs.values()), document={"by": choice.by, "sources": sources})


def _every_pack(brought: Sequence[Brought]) -> dict[tuple[str, str], Pack]:
    """(id, version) -> buildpack. Raises BuildFailed('buildpack-twice') for two that are asked for under one name."""
    asked: dict[str, Brought] = {}
    for item in brought:
        other = asked.setdefault(item.id.lower(), item)
        if other is not item and other.pack != item.pack:
            first, second = other.source, item.source
            raise BuildFailed("buildpack-twice", first=first.asked_by, second=second.asked_by, id=item.id)
    return {(pack.id, pack.version): pack for item in brought for pack in item.packs}


def _tell(choice: Choice, chosen: Chosen, log: Callable[[str], None]) -> None:
    words = []
    for item in table_list(chosen.document["sources"]):
        pin = str(item["pin"]).removeprefix("sha256:")[:12]
        words.append(f"{item['asked']} at {pin}" if pin else str(item["asked"]))
    if not choice.sources:
        words.insert(len(choice.pre), "what is detected")
    log(f"-----> Buildpacks, chosen by {choice.by}: {', '.join(words)}")


def _tell_untold(project: ProjectDescriptor, log: Callable[[str], None]) -> None:
    if project.untold:
        log(f"       project.toml: {', '.join(project.untold)} is not supported here and changes nothing")


def _select_files(app_dir: Path, project: ProjectDescriptor, log: Callable[[str], None]) -> None:
    if project.exclude:
        count = remove_matching(app_dir, parse_patterns(project.exclude))
        log(f"       project.toml: exclude leaves out {count} files and folders")
    if project.include:
        count = keep_matching(app_dir, parse_patterns(project.include))
        log(f"       project.toml: include leaves out {count} files")


def _apply_slugignore(app_dir: Path, log: Callable[[str], None]) -> None:
    path = app_dir / SLUGIGNORE
    if path.is_symlink() or not path.is_file():
        return
    if path.stat().st_size > _MAX_IGNORE_BYTES:
        log(f"       {SLUGIGNORE} has more than {_MAX_IGNORE_BYTES >> 10} KiB and leaves nothing out")
        return
    count = remove_matching(app_dir, parse_patterns(path.read_text(encoding="utf-8", errors="replace").splitlines()))
    log(f"       {SLUGIGNORE} leaves out {count} files and folders")
