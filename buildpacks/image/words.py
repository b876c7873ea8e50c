"""Words for what sealing, assembling and sending an image can fail with."""

from __future__ import annotations

from collections.abc import Mapping

from buildpacks.wording import Words

_ASSEMBLY: Mapping[str, Words] = {
    "no-stack": Words(
        title="the server has no stack",
        body="An image needs a stack to lie on, and this server has none yet; what is built without one runs as a "
        "process of its own machine and nowhere else.",
        next="algo stack build   (once, on the server), then push again",
        move="operator",
    ),
    "dockerfile-image": Words(
        title="the engine has this image, not the server",
        body="The image {image} was built from a Dockerfile by the container engine, which keeps all of it.",
        next="docker save {image} -o FILE   (on the engine's machine)",
        move="operator",
    ),
    "stack-image-gone": Words(
        title="stack image is gone or changed",
        body="The image lies on {reference}, and that run image is not in the stack store as it was.",
        next="algo stack add NAME --run {reference}   (the same image again), or: algo stack upgrade",
        move="operator",
    ),
    "layer-lost-in-store": Words(
        title="a layer is gone from the store",
        body="The layer {layer} of this image is not at {path} any more.",
        next="git commit --allow-empty -m rebuild && git push algo main   (makes it again)",
    ),
    "layer-damaged": Words(
        title="a layer is not what it was",
        body="The layer {layer} changed after it was sealed ({detail}). Nothing that was sent of it is used.",
        next="push again, which makes it anew where releases are containers; the operator should find out who changes "
        "files in the state folder",
        move="operator",
    ),
    "launch-failed": Words(
        title="the image cannot start",
        body="The image's process cannot be started: {detail}.",
        next="correct the process in Procfile, commit and push again",
    ),
}

_REGISTRY: Mapping[str, Words] = {
    "image-reference-bad": Words(
        title="no name of an image",
        body="{reference} cannot be the name of an image; expected {expected}.",
        next="write it as docker pull takes it, for example registry.example.org/team/python:3.11",
        move="operator",
    ),
    "registry-place-bad": Words(
        title="no place in a registry",
        body="{found} is no place in a registry; expected HOST[:PORT]/PREFIX in lower case, without https:// or a tag.",
        next="algo serve --registry registry.example.org/models",
        move="operator",
    ),
    "credentials-unreadable": Words(
        title="the registry logins cannot be read",
        body="The file of registry logins, {file}, cannot be read: {message}.",
        next="docker login HOST   (as the server's user; it writes the file anew)",
        move="operator",
    ),
    "credential-helper-failed": Words(
        title="the credential helper gave no login",
        body="{helper} was asked for the login of {registry}, and gave none: {message}.",
        next="echo {registry} | {helper} get   (as the server's user, to see why)",
        move="operator",
    ),
    "ca-bundle-unreadable": Words(
        title="the file of certificates is missing",
        body="The server is told to trust the certificates in {file}, and there is no such file.",
        next="correct SSL_CERT_FILE where the server starts, and start it again",
        move="operator",
    ),
    "registry-unreachable": Words(
        title="the registry does not answer",
        body="{registry} cannot be reached: {cause}. What arrived there before stays, and is not sent again.",
        next="git push algo redeploy   (once the registry is back; what served before goes on serving)",
        move="operator",
    ),
    "registry-broke-off": Words(
        title="the connection to the registry breaks",
        body="The connection to {registry} broke again and again: {cause}.",
        next="git push algo redeploy   (it goes on with what the registry has; tell the operator if it stays)",
        move="operator",
    ),
    "registry-slow": Words(
        title="the registry fell silent",
        body="{registry} gave no sign of life for {seconds} s, several times.",
        next="git push algo redeploy   (tell the operator if it stays)",
        move="operator",
    ),
    "registry-certificate": Words(
        title="the registry's certificate is not trusted",
        body="{registry} shows a certificate that this server does not trust: {cause}.",
        next="SSL_CERT_FILE=/path/of/ca.pem where the server starts, with the authority that signed it",
        move="operator",
    ),
    "registry-plain-http": Words(
        title="the registry speaks no TLS",
        body="{registry} answers with plain HTTP where HTTPS was expected; nothing was sent to it.",
        next="algo serve --registry-plain-http on   (only where nobody can listen between here and the registry)",
        move="operator",
    ),
    "registry-wants-https": Words(
        title="the registry speaks TLS",
        body="{registry} speaks HTTPS, and this server is told to speak plain HTTP to it.",
        next="algo serve --registry-plain-http off",
        move="operator",
    ),
    "registry-realm-unsafe": Words(
        title="the registry leads to a place without TLS",
        body="{registry} sends its callers on to {realm}, which is no HTTPS address: no login goes there.",
        next="correct the address in the registry's configuration (its realm, or its own public host)",
        move="operator",
    ),
    "registry-login-missing": Words(
        title="the registry wants a login",
        body="{registry} wants a login for {repository}, and this server has none.",
        next="docker login {registry}   (as the server's user, or with its DOCKER_CONFIG)",
        move="operator",
    ),
    "registry-login-wrong": Words(
        title="the registry refuses the login",
        body="{registry} does not take the login of {user} for {repository}: the password is wrong or has expired, or "
        "this user may not go there.",
        next="docker login {registry}   (as the server's user, or with its DOCKER_CONFIG)",
        move="operator",
    ),
    "registry-denied": Words(
        title="the registry denies access",
        body="{registry} does not let {user} {doing} in {repository}: {message}.",
        next="give {user} the right to push to {repository}, or: docker login {registry}   (as somebody who has it)",
        move="operator",
    ),
    "registry-read-only": Words(
        title="the registry is read-only",
        body="{registry} takes nothing at the moment (asked to {doing} in {repository}): it is set to read-only.",
        next="git push algo redeploy   (once the registry takes images again)",
        move="operator",
    ),
    "registry-full": Words(
        title="the registry has no space left",
        body="{registry} could not store {repository}: {message}.",
        next="make room in the registry (its own garbage collection), then: git push algo redeploy",
        move="operator",
    ),
    "registry-busy": Words(
        title="the registry has a problem",
        body="{registry} answered {status} several times when it was asked to {doing}: {message}.",
        next="git push algo redeploy   (again in a minute; tell the operator if it stays)",
        move="operator",
    ),
    "registry-repository-missing": Words(
        title="the registry has no such repository",
        body="{registry} has no repository {repository}, and makes none by itself: {message}.",
        next="make the repository {repository} in the registry, then: git push algo redeploy",
        move="operator",
    ),
    "registry-refused": Words(
        title="the registry refused",
        body="{registry} answered {status} when it was asked to {doing} in {repository}: {message}.",
        next="see the registry's own log, and docs/operators/registry.md",
        move="operator",
    ),
    "registry-answer-long": Words(
        title="the registry's answer has no end",
        body="{registry} answered with more than {limit} bytes where a short document was expected.",
        next="check that {registry} is a registry",
        move="operator",
    ),
    "registry-altered": Words(
        title="the registry gave other bytes",
        body="{registry} gave bytes for {digest} that are not those of this digest.",
        next="do not trust that registry, or what lies between; try again later",
        move="operator",
    ),
    "layer-unreadable": Words(
        title="a layer cannot be read",
        body="A layer could not be read from the store while it was sent: {message} {file}",
        next="check the server's disk, then: git push algo redeploy",
        move="operator",
    ),
    "image-missing": Words(
        title="no such image",
        body="The registry has no {reference} ({found} is not there).",
        next="correct the name, or push the image there first",
        move="operator",
    ),
    "image-arch-missing": Words(
        title="the image is for other machines",
        body="{reference} is not there for linux/{arch}; it is there for {found}.",
        next="name an image that is made for linux/{arch}",
        move="operator",
    ),
    "image-kind": Words(
        title="this is no image",
        body="{reference} has a part of the kind {found}, which is none of an image's.",
        next="name an image that docker pull takes",
        move="operator",
    ),
}

_REBASE: Mapping[str, Words] = {
    "rebase-no-stack": Words(
        title="lies on no stack that could be exchanged",
        body="The image was built for {base} and lies on no stack, so there is nothing below it to exchange.",
        next="git push algo main:redeploy   builds the commit again, on the stack of today",
    ),
    "rebase-misfit": Words(
        title="has to be built again for {stack}",
        body="The layers were made for {what} {made_for}; the stack {stack} has {found}.",
        next="git push algo main:redeploy   builds the commit again, on the stack of today",
    ),
}

_VARIANTS: Mapping[str, Words] = {
    "no-such-variant": Words(
        title="no variant {variant} of this image",
        body="The image has no variant {variant}; its variants: {known}.",
        next="algo config set BP_GPU=also && git push algo main:redeploy   makes a variant gpu beside each new image",
    ),
    "variant-starts-otherwise": Words(
        title="a variant that starts otherwise",
        body="The layer for the variant {variant} brings settings of its own, and with them the image would start with "
        "another command or environment. A variant differs in its packages alone.",
        next="make the settings of both layers the same in the buildpack that writes them",
    ),
}

WORDS: Mapping[str, Words] = {**_VARIANTS, **_ASSEMBLY, **_REBASE, **_REGISTRY}
