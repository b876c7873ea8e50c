"""Words for images: finding, verifying, collecting, moving them to another stack."""

from __future__ import annotations

from collections.abc import Mapping

from gitserver.errors import Move
from gitserver.words.entry import Words

_OPERATOR, _NOBODY = Move.OPERATOR, Move.NOBODY

_IMAGES = {
    "no-such-image": Words(
        title="no image of {ref}",
        body="{app} has no image of {ref}; there are: {known}.",
        next="algo image list",
        status=404,
    ),
    "nothing-serves-yet": Words(
        title="nothing serves yet",
        body="{app} has no production release, so there is no image to take without being told which.",
        next="git push algo main, or name a version, a release or a commit",
        status=409,
    ),
    "image-collected": Words(
        title="the image of release {release} was removed",
        body="The image of release {release} is not kept any more: it is older than what this server keeps of an "
        "environment.",
        next="git push algo {commit}:refs/heads/redeploy   (builds it again; the images of versions stay for ever)",
        status=409,
    ),
    "image-differs": Words(
        title="the same commit makes another image now",
        body="A second build of {commit} made {found} and not {expected}. What differs: {what}.",
        next="if packages were released since: pin them in requirements.txt or push a lock file; else algo redeploy "
        "makes an image that can be trusted",
        status=422,
    ),
    "no-registry": Words(
        title="no registry to send to",
        body="This server sends its images to no registry.",
        next="algo serve --registry HOST/PREFIX   on the server's machine; or: algo image save FILE",
        move=_OPERATOR,
        status=409,
    ),
    "cannot-write": Words(
        title="{path} cannot be written",
        body="{path} cannot be written: {detail}.",
        next="name another file, or make room",
    ),
    "not-verifiable": Words(
        title="an image from a Dockerfile cannot be built twice alike",
        body="The image of {commit} was built by the engine from a Dockerfile, whose steps are not reproducible.",
        next="remove the Dockerfile, so that the server assembles the image itself",
        status=422,
    ),
}

_COLLECTION = {
    "gc-busy": Words(
        title="a collection is under way",
        body="Collection {collection} is still under way, and there is one at a time.",
        next="algo gc   when it has ended",
        move=_NOBODY,
        status=409,
    ),
    "gc-renewed": Words(
        title="in use again",
        body="A build took {path} up again meanwhile.",
        next="nothing: it stays until nothing needs it",
        move=_NOBODY,
        status=409,
    ),
    "operator-only": Words(
        title="for the server's owner alone",
        body="This concerns the whole server, and {owner} alone may do it.",
        next="ask {owner}",
        move=_OPERATOR,
        status=403,
    ),
}

_STACKS = {
    "no-stack-here": Words(
        title="no stack to move to",
        body="This server has no stack that is called {found}; it has: {known}.",
        next="algo stack build {found}   on the server's machine",
        move=_OPERATOR,
        status=409,
    ),
}

WORDS: Mapping[str, Words] = {**_IMAGES, **_COLLECTION, **_STACKS}
