"""Words for images that an engine builds from a repository's Dockerfile, and for builds in containers."""

from __future__ import annotations

from collections.abc import Mapping

from gitserver.errors import Move
from gitserver.words.entry import Words

WORDS: Mapping[str, Words] = {
    "dockerfile-not-allowed": Words(
        title="Dockerfile is not allowed here",
        body="The repository has a Dockerfile and nothing that a buildpack could serve; this server does not build "
        "Dockerfiles.",
        next="add a Procfile, a predict.py or a model file, or ask the operator to start: algo serve "
        "--allow-dockerfile on   (allow_dockerfile)",
        status=422,
    ),
    "dockerfile-no-engine": Words(
        title="Dockerfile needs a Docker engine",
        body="The repository has a Dockerfile and nothing that a buildpack could serve; this server runs releases as "
        "processes and has no engine to build it.",
        next="add a Procfile, a predict.py or a model file, or ask the operator to start: algo serve --target docker "
        "--allow-dockerfile on",
        status=422,
    ),
    "dockerfile-no-command": Words(
        title="the docker command is missing",
        body="The server builds a Dockerfile with the docker command, which is not installed beside it.",
        next="tell the operator: apt-get install docker.io   (or docker-cli and docker-buildx)",
        move=Move.OPERATOR,
        status=422,
    ),
    "dockerfile-failed": Words(
        title="Dockerfile failed at {step}",
        body="The Dockerfile could not be built; it ended at {step}: {cause}{note}",
        next="docker build .   (shows the same on your machine), then commit and push again",
        status=422,
    ),
    "dockerfile-base-missing": Words(
        title="base image {image} cannot be had",
        body="The Dockerfile starts FROM {image}, which the server's engine neither has nor can pull: {cause}",
        next="correct the FROM line, or ask the operator: docker pull {image}",
        status=422,
    ),
    "dockerfile-no-process": Words(
        title="Dockerfile starts nothing",
        body="The image of the Dockerfile has neither an ENTRYPOINT nor a CMD.",
        next='add a last line: CMD ["COMMAND", ...] that listens on $PORT, commit and push again',
        status=422,
    ),
    "dockerfile-too-big": Words(
        title="Dockerfile too big",
        body="The Dockerfile has more than {limit_kib} KiB.",
        next="COPY a script and RUN it, commit and push again",
        status=422,
    ),
    "build-image-missing": Words(
        title="stack {stack} cannot build from source",
        body="The stack {stack} has no build image, and a package of this app has to be built from source.",
        next="ask for versions that have wheels, or tell the operator: algo stack build {stack}",
        move=Move.OPERATOR,
        status=422,
    ),
}
