"""Words for what making, adding and reading a stack can fail with."""

from __future__ import annotations

from collections.abc import Mapping

from buildpacks.wording import Words

_BUILD = "algo stack build   (again)"

_MAKING = {
    "stack-tool-missing": Words(
        title="{tool} is not installed",
        body="A stack is made from Debian packages by {tool}, which this machine has not got.",
        next="apt-get install mmdebstrap   (or name an image instead: algo stack add NAME --run IMAGE)",
        move="operator",
    ),
    "stack-needs-root": Words(
        title="a stack cannot be made by this user",
        body="mmdebstrap needs root, or user namespaces with ids of their own for this user: {found}.",
        next="run algo stack build as root, or give the user a line in /etc/subuid and /etc/subgid",
        move="operator",
    ),
    "stack-option-bad": Words(
        title="--{option} cannot be used",
        body="--{option} is '{found}', which is no {option} that mmdebstrap could be given.",
        next="algo stack build --help",
        move="operator",
    ),
    "stack-arch-unknown": Words(
        title="no stack for this kind of machine",
        body="This machine is {found}; stacks are made for {known}.",
        next="algo stack add NAME --run IMAGE   (an image that is made for this machine)",
        move="operator",
    ),
    "stack-mirror-unreachable": Words(
        title="Debian mirror unreachable",
        body="Packages of {suite} could not be fetched: {found}",
        next="algo stack build --mirror URL   (a mirror that this machine reaches)",
        move="operator",
    ),
    "stack-suite-unknown": Words(
        title="no suite {suite} on the mirror",
        body="The mirror has no Debian suite {suite}, or not all of it: {found}.",
        next="algo stack build --suite bookworm",
        move="operator",
    ),
    "stack-package-unknown": Words(
        title="no package {found}",
        body="{suite} has no package {found}.",
        next="algo stack build --package NAME   (apt-cache search WORD finds how it is spelt)",
        move="operator",
    ),
    "stack-keyring-missing": Words(
        title="signatures of {suite} cannot be checked",
        body="The mirror's index of {suite} is signed with a key that this machine does not know: {found}.",
        next="apt-get install debian-archive-keyring",
        move="operator",
    ),
    "stack-no-space": Words(
        title="disk full",
        body="There was no space left while the stack's packages were installed; about 1 GB is needed.",
        next="free space, or let it work elsewhere: TMPDIR=/path algo stack build",
        move="operator",
    ),
    "stack-build-failed": Words(
        title="the stack could not be made",
        body="mmdebstrap ended with status {status}; the lines above are its last.",
        next=_BUILD,
        move="operator",
    ),
    "stack-build-timeout": Words(
        title="making the stack took too long",
        body="mmdebstrap was ended after {seconds} s.",
        next="algo stack build --mirror URL   (a mirror that is nearer)",
        move="operator",
    ),
}

_NAMING = {
    "stack-name-bad": Words(
        title="no name for a stack",
        body="'{found}' cannot name a stack: up to 40 small letters and digits, with single dots, dashes or "
        "underscores between them.",
        next="algo stack build bookworm",
        move="operator",
    ),
    "stack-unknown": Words(
        title="no stack {name}",
        body="There is no stack {name} on this server; there is: {names}.",
        next="algo stack list",
        move="operator",
    ),
    "stack-in-use": Words(
        title="stack {name} is in use",
        body="The stack {name} stays: new builds lie on it, or it names the image that was to go.",
        next="algo stack use ANOTHER",
        move="operator",
    ),
}

_IMAGES = {
    "stack-file-missing": Words(
        title="no file {path}",
        body="There is no file or folder {path}.",
        next="docker save IMAGE -o {path}   (on a machine that has the image)",
        move="operator",
    ),
    "stack-image-bad": Words(
        title="not an image",
        body="{reference} cannot be read as an image: {reason}.",
        next="docker save IMAGE -o FILE, and name that file",
        move="operator",
    ),
    "stack-image-several": Words(
        title="more than one image",
        body="{reference} holds several images for this machine, and which is meant cannot be guessed: {images}.",
        next="docker save ONE-IMAGE -o FILE, and name that file",
        move="operator",
    ),
    "stack-wrong-arch": Words(
        title="image for another machine",
        body="{reference} is made for {found}; this machine runs {expected}.",
        next="name an image for {expected}   (docker pull --platform {expected} IMAGE)",
        move="operator",
    ),
    "stack-python-broken": Words(
        title="the image's Python does not run",
        body="{python} of the image does not run on this machine: {output}",
        next="name another image: algo stack add NAME --run IMAGE",
        move="operator",
    ),
    "stack-layer-zstd": Words(
        title="layer is compressed with zstd",
        body="A layer of the image ({digest}) is compressed with zstd, which this server does not read.",
        next="docker save IMAGE -o FILE, and name that file: docker writes layers that can be read",
        move="operator",
    ),
    "stack-layer-refused": Words(
        title="a layer that cannot be unpacked",
        body="{path} in a layer of the image is refused: {reason}.",
        next="name another image: algo stack add NAME --run IMAGE",
        move="operator",
    ),
    "stack-blob-missing": Words(
        title="a part of a stack is gone",
        body="{digest} of {reference} is not in the stack store any more.",
        next="add the same image again: algo stack add NAME --run IMAGE",
        move="operator",
    ),
    "stack-blob-damaged": Words(
        title="a part of a stack is damaged",
        body="{expected} of a stack's image was expected, and something else was read: {found}.",
        next="add the image again: algo stack add NAME --run IMAGE   (or: algo stack build NAME)",
        move="operator",
    ),
    "stack-record-damaged": Words(
        title="the stack store is damaged",
        body="{path} cannot be read.",
        next="algo stack build NAME   (or restore the state folder)",
        move="operator",
    ),
}

WORDS: Mapping[str, Words] = {**_MAKING, **_NAMING, **_IMAGES}
