"""Words for the ends of builds and for what there is to go back to."""

from __future__ import annotations

from collections.abc import Mapping

from gitserver.errors import Move
from gitserver.words.entry import Words

_OPERATOR, _NOBODY = Move.OPERATOR, Move.NOBODY

WORDS: Mapping[str, Words] = {
    "superseded": Words(
        title="superseded by build {build} ({actor})",
        body="A newer push to the same place, build {build} by {actor}, took this one's turn before it began.",
        next="algo builds logs {build} -f",
        move=_NOBODY,
        status=409,
    ),
    "cancelled": Words(
        title="cancelled by {actor}",
        body="{actor} cancelled build {build}; what served before goes on serving.",
        next="push again when you like; the same commit is built again",
        status=409,
    ),
    "build-unfinished": Words(
        title="build goes on", body="Build {build} has not ended.", next="algo builds logs {build} -f", status=409
    ),
    "unknown-end": Words(
        title="ended without a reason",
        body="Build {build} ended and the server does not know why.",
        next="push again; tell the operator if it happens twice",
        move=_OPERATOR,
        status=500,
    ),
    "internal": Words(
        title="internal error in build {build}",
        body="The server failed while it worked on build {build}: {detail}. What served before goes on serving.",
        next="push again; tell the operator if it happens twice, the server's log has the details",
        move=_OPERATOR,
        status=500,
    ),
    "ref-moved": Words(
        title="{ref} moved to {found} while this waited; pull and push again",
        body="{ref} is at {found} now, not at {expected} where your push started from.",
        next="git pull algo {ref}, then push again",
        status=409,
    ),
    "group-failed": Words(
        title="not done: {culprit} failed and the push is atomic",
        body="The push was atomic, and {culprit} failed: {cause}. Nothing of it was kept.",
        next="mend {culprit} and push again, or push without --atomic",
        status=409,
    ),
    "app-gone": Words(
        title="the app was destroyed meanwhile",
        body="The app was destroyed while this waited.",
        next="push again to make it anew",
        status=409,
    ),
    "environment-gone": Words(
        title="the preview was removed meanwhile",
        body="The preview was removed while this build ran.",
        next="push again to make it anew",
        status=409,
    ),
    "nothing-serves": Words(
        title="nothing serves there yet",
        body="{environment} has no release yet, so there is nothing to {action}.",
        next="git push algo main",
        status=409,
    ),
    "unknown-release": Words(
        title="no such release",
        body="There is no release {found}; valid targets are {known}.",
        next="algo releases",
        status=404,
    ),
    "unknown-version": Words(
        title="no such version",
        body="There is no version {found}; there are {known}.",
        next="algo versions",
        status=404,
    ),
    "version-exists": Words(
        title="{tag} exists already",
        body="The version {tag} was published by another push meanwhile; versions are immutable.",
        next="git push algo with a new tag",
        status=409,
    ),
    "lfs-objects-missing": Words(
        title="{path} is a Git LFS pointer",
        body="{path} is a Git LFS pointer of {size}, not the file itself, and this server has no copy of the file.",
        next="git lfs migrate export --include='{path}' --everything, then push again; "
        "or git lfs untrack '{path}' and commit the file itself",
    ),
}
