"""Algorithmia: src/<algorithm>.py with apply, or any file at the top that imports its development kit.

Source  algorithmia.conf is JSON with "algoname"; the file below src/ has that name
"""

from __future__ import annotations

from buildpacks.packs.algo_model.contracts.entry import Entry
from buildpacks.packs.algo_model.contracts.syntax import imported, names, parse, python_files, read
from buildpacks.packs.cnb import PackFailed

CONFIGURATION = "algorithmia.conf"
KITS = frozenset({"Algorithmia", "algorithmia", "adk"})
# A folder of so many programs has no one algorithm; reading them all would cost every push.
MAX_FILES = 1000
NAME_KEYS = ("algoname", "algo_name", "algorithm_name", "name")


def find(app: str) -> Entry | None:
    """The file of an algorithm that says so itself: by importing the kit, or by algorithmia.conf beside it.

    Raises  PackFailed: syntax-error, ambiguous-entrypoint with all of several files
    """
    configured = _configured_name(app)
    found = [(entry, has_kit) for entry, has_kit in _candidates(app) if has_kit or configured is not None]
    named = [entry for entry, _ in found if entry.file == f"src/{configured}.py"]
    if len(named) == 1:
        return named[0]._replace(why=f"{named[0].why}, and {CONFIGURATION} names it")
    return _only([entry for entry, _ in found])


def find_by_name(app: str) -> Entry | None:
    """A file of src/ with a function apply and nothing else that speaks for Algorithmia. Raises as find does."""
    return _only([entry for entry, _ in _candidates(app) if entry.file.startswith("src/")])


def _only(found: list[Entry]) -> Entry | None:
    if len(found) > 1:
        files = [entry.file for entry in found]
        raise PackFailed("ambiguous-entrypoint", file=", ".join(files), names=["apply"], setting=f"{files[0]}:apply")
    return found[0] if found else None


def _candidates(app: str) -> list[tuple[Entry, bool]]:
    found = []
    for folder in ("src", ""):
        for file in python_files(app, folder)[:MAX_FILES]:
            # A cheap look before a parse: most files of a repository are something else.
            if b"def apply" not in read(app, file):
                continue
            tree = parse(app, file)
            known = {} if tree is None else names(tree)
            if tree is None or "apply" not in known:
                continue
            has_kit = bool(imported(tree) & KITS)
            if folder == "src" or has_kit:
                why = f"{file} line {known['apply']}: Algorithmia's apply"
                found.append((Entry("algorithmia", file, "apply", why), has_kit))
    return found


def _configured_name(app: str) -> str | None:
    import json  # late: most repositories come without this file

    try:
        document = json.loads(read(app, CONFIGURATION) or b"{}")
    except ValueError:
        return None
    if not isinstance(document, dict):
        return None
    return next((str(document[key]) for key in NAME_KEYS if document.get(key)), None)
