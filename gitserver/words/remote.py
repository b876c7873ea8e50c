"""Words for pushes that are refused before anything is built."""

from __future__ import annotations

from collections.abc import Mapping

from gitserver.errors import Move
from gitserver.words.entry import Words

_OPERATOR, _NOBODY = Move.OPERATOR, Move.NOBODY

_REFS = {
    "app-unknown": Words(
        title="no such app",
        body="There is no app {app} that you may reach.",
        next="algo apps; or correct the address: git remote set-url algo URL/OWNER/APP.git",
        status=404,
    ),
    "delete-production": Words(
        title="production cannot be deleted",
        body="{branch} is what production serves; deleting it is refused.",
        next="to end the whole app: algo destroy",
    ),
    "delete-version": Words(
        title="versions are immutable",
        body="{tag} is a version, or would be one; versions stay for ever.",
        next="to serve another: git push algo OTHER-TAG",
    ),
    "version-immutable": Words(
        title="versions are immutable: {tag} is {commit}; try {next_tag}",
        body="{tag} is published already, for commit {commit}, and a version never changes.",
        next="git tag {next_tag} && git push algo {next_tag}",
        status=409,
    ),
    "unknown-branch": Words(
        title="no such preview",
        body="There is no preview of a branch {found}; there are {known}.",
        next="algo previews",
        status=404,
    ),
    "not-a-commit": Words(
        title="not a commit",
        body="What was pushed to {ref} is not a commit (a tag object, a tree or a file).",
        next="push a commit: git push algo 'TAG^{{commit}}:refs/heads/BRANCH'",
    ),
    "redeploy-unknown": Words(
        title="{commit} was never built",
        body="Redeploy builds a commit again that was built before; {commit} was not.",
        next="git push algo main",
    ),
    "ref-collision": Words(
        title="name collides with {other}",
        body="{found} and {other} cannot both exist: they would be the same file or the same address "
        "(case, '/' and '-' are lost there; versions and branches share it).",
        next="choose another name: git push algo HEAD:ANOTHER-NAME",
        status=409,
    ),
    "ref-twice": Words(
        title="pushed twice at once",
        body="{found} stands twice in one push.",
        next="push each ref once",
    ),
    "preview-limit": Words(
        title="{limit} previews exist already",
        body="This app has its {limit} previews: {known}.",
        next="delete one: git push algo :{oldest}",
        status=409,
    ),
    "bad-push-option": Words(
        title="unknown push option",
        body="'{found}' is no push option of this server; it knows {known}.",
        next="git push -o with-config algo v1.0.0",
    ),
    "too-many-options": Words(
        title="too many push options",
        body="A push takes at most {limit} options of {limit_bytes} bytes each.",
        next="push with fewer options",
    ),
    "too-many-refs": Words(
        title="too many refs: {found}, the limit is {limit}",
        body="{found} refs are more than the {limit} that are taken.",
        next="push fewer at a time: git push algo main",
    ),
    "detached": Words(
        title="detached: build {build} runs; algo builds logs {build} -f",
        body="Build {build} runs on without you; the push says 'rejected' because the ref has not moved yet.",
        next="algo builds logs {build} -f",
        move=_NOBODY,
        status=409,
    ),
}

_PACKS = {
    "bad-pack": Words(
        title="the pushed objects are damaged",
        body="git refused the pushed objects: {detail}.",
        next="git fsck, then push again",
    ),
    "pack-incomplete": Words(
        title="the push broke off",
        body="The connection ended after {received} of the pushed objects; nothing of them was kept.",
        next="push again",
    ),
    "pack-too-big": Words(
        title="more than {limit}",
        body="The push is larger than the {limit} that this server takes.",
        next="keep large files out of git's history, or ask the operator to raise max_pack_bytes",
        status=413,
    ),
    "too-many-objects": Words(
        title="{found} objects, the limit is {limit}",
        body="The push holds {found} objects; the limit is {limit}.",
        next="push a shorter history: git clone --depth 1, then push from there",
        status=413,
    ),
    "objects-missing": Words(
        title="objects are missing",
        body="The push refers to objects that neither it nor this server has ({detail}).",
        next="git fsck; in a partial or shallow clone: git fetch --unshallow, then push again",
    ),
    "disk-full": Words(
        title="no space: needs {needs}, {free} free",
        body="The server's disk has {free} free; this push needs {needs}. Nothing was kept.",
        next="tell the operator; then push again",
        move=_OPERATOR,
        status=507,
    ),
    "too-many-pushes": Words(
        title="other pushes of yours are still being received",
        body="{limit} pushes of yours are being received; this one waited half an hour for its turn.",
        next="push again when they are through",
        status=429,
    ),
}

_TREES = {
    "empty-tree": Words(
        title="the commit is empty",
        body="The pushed commit holds no file.",
        next="git add the model or the code, git commit, git push algo main",
    ),
    "submodule": Words(
        title="submodules are not supported",
        body="{path} is a submodule; its files are in another repository that this server never reads.",
        next="copy its files into the repository: git rm --cached {path}, rm -rf {path}/.git, git add {path}",
    ),
    "symlink-outside": Words(
        title="{path} links out of the repository",
        body="{path} is a link to {target}, which is not a place inside the repository.",
        next="git rm {path}, or link to a file of the repository",
    ),
    "bad-path": Words(
        title="file name refused",
        body="{path} cannot be used: {reason}.",
        next="rename it: git mv",
    ),
    "bad-tree": Words(
        title="the pushed tree is damaged",
        body="The pushed tree cannot be read: {detail}.",
        next="git fsck, then push again",
    ),
    "tree-too-big": Words(
        title="the tree is too big",
        body="The pushed tree is over a limit: {what}, at most {limit}.",
        next="remove what the model does not need, commit, push again",
        status=413,
    ),
}

_PROTOCOL = {
    "bad-pkt-line": Words(
        title="not git's protocol",
        body="The client does not speak git's protocol: {detail}.",
        next="use a current git",
    ),
    "bad-command": Words(
        title="not git's protocol",
        body="The client sent what is no push: {found}.",
        next="use a current git",
    ),
    "bad-object-format": Words(
        title="object format {found} is not supported",
        body="The repository uses {found}; this server stores sha1.",
        next="git init --object-format=sha1, and commit there",
    ),
    "bad-body": Words(
        title="the request is damaged", body="The request's body cannot be read: {detail}.", next="try again"
    ),
    "body-bomb": Words(
        title="the request is too large",
        body="The request's body inflates beyond its limit ({limit}).",
        next="use a current git",
        status=413,
    ),
    "body-too-big": Words(
        title="the request is too large",
        body="A fetch request holds at most {limit}.",
        next="clone anew",
        status=413,
    ),
    "ssh-no-shell": Words(
        title="no shell here",
        body="You are signed in. There is no shell here; this address speaks git.",
        next="git push algo main",
    ),
    "ssh-bad-command": Words(
        title="not a command of this server",
        body="'{found}' is not answered here; git push, git fetch and git clone are.",
        next="git push algo main",
    ),
    "ssh-no-lfs": Words(
        title="Git LFS is not served yet",
        body="This server does not take Git LFS objects.",
        next="commit the file itself, or push with --no-verify when no file needs LFS",
        status=501,
    ),
    "too-many-channels": Words(
        title="too many connections of one key",
        body="This key has its {limit} connections open.",
        next="close one and try again",
        status=429,
    ),
}

_SERVER = {
    "push-broken": Words(
        title="internal error",
        body="The server failed while it received the push: {detail}. What served before goes on serving.",
        next="push again; tell the operator if it happens twice, the server's log has the details",
        move=_OPERATOR,
        status=500,
    ),
    "git-missing": Words(
        title="git is not installed on the server",
        body="The server needs git 2.39 or newer.",
        next="apt install git",
        move=_OPERATOR,
        status=500,
    ),
    "git-broken": Words(
        title="git failed on the server",
        body="git {command} ended with status {status}: {detail}.",
        next="tell the operator",
        move=_OPERATOR,
        status=500,
    ),
    "git-timeout": Words(
        title="git took too long on the server",
        body="git {command} did not end within {seconds} s.",
        next="push again; tell the operator if it happens twice",
        move=_OPERATOR,
        status=503,
    ),
    "ref-transaction-failed": Words(
        title="the refs could not be moved",
        body="git did not move the refs: {detail}.",
        next="push again; tell the operator if it happens twice",
        move=_OPERATOR,
        status=500,
    ),
    "repo-busy": Words(
        title="the repository is busy",
        body="Somebody else held the repository for {seconds} s.",
        next="push again",
        move=_NOBODY,
        status=503,
    ),
    "host-key-unreadable": Words(
        title="SSH host key cannot be read",
        body="{path} cannot be used: {detail}. It is not replaced, or every client would refuse the server.",
        next="restore {path} from a backup, or remove it to make a new one",
        move=_OPERATOR,
        status=500,
    ),
}

WORDS: Mapping[str, Words] = {**_REFS, **_PACKS, **_TREES, **_PROTOCOL, **_SERVER}
