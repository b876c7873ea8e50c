"""Quarantines, ref transactions and trees with real git objects."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from gitserver.errors import Problem
from gitserver.push import ZERO_OID
from gitserver.remote.ingest import ingest
from gitserver.remote.native import git_env, run_git
from gitserver.remote.quarantine import Quarantine, sweep
from gitserver.remote.refs import (
    RefChange,
    RefConflict,
    create_repository,
    is_ancestor,
    list_refs,
    move_refs,
    peel,
    prepare_refs,
    repo_lock,
    sweep_drafts,
)
from gitserver.remote.slots import PushSlots
from gitserver.remote.tree import BIG_BYTES, Tree, TreeLimits, extract
from tests.contract.remote_house import CLIENT_ENV, commit, git


@dataclass(slots=True)
class BytesWire:
    """A wire whose client has said everything."""

    data: bytes

    def read(self, size: int) -> bytes:
        piece, self.data = self.data[:size], self.data[size:]
        return piece

    def write(self, data: bytes) -> None:
        raise AssertionError("ingest writes nothing")

    def close_read(self) -> None:
        self.data = b""

    def set_idle(self, seconds: float) -> None:
        pass


def _pack(repo: Path, *revisions: str) -> bytes:
    return subprocess.run(
        ["git", "pack-objects", "--stdout", "--revs", "--thin", "-q"], cwd=repo, env=CLIENT_ENV, check=True,
        input="".join(f"{revision}\n" for revision in revisions).encode(), capture_output=True,
    ).stdout  # fmt: skip


def _receive(store: Path, pack: bytes) -> Quarantine:
    quarantine = Quarantine.create(store)
    ingest(quarantine, BytesWire(pack), max_bytes=2**31, shallow=(), on_progress=lambda _: None)
    return quarantine


@pytest.fixture
def store(tmp_path: Path) -> Path:
    create_repository(tmp_path / "store.git")
    return tmp_path / "store.git"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    commit(tmp_path / "repo", {"app.py": "print('one')\n"}, "one")
    return tmp_path / "repo"


def test_b7_a_new_repository_is_bare_points_at_main_and_is_made_once(store: Path) -> None:
    assert git(["symbolic-ref", "HEAD"], GIT_DIR=str(store)) == "refs/heads/main"
    assert git(["config", "receive.autogc"], GIT_DIR=str(store)) == "false"
    assert git(["config", "core.fsync"], GIT_DIR=str(store)) == "loose-object,pack,pack-metadata,reference"
    (store / "marker").touch()
    create_repository(store)
    assert (store / "marker").exists()
    assert [path.name for path in store.parent.glob(".draft*")] == []


def test_what_is_in_quarantine_is_seen_only_through_it_until_it_migrates(store: Path, repo: Path) -> None:
    tip = git(["rev-parse", "HEAD"], repo)
    quarantine = _receive(store, _pack(repo, tip))
    assert peel(store, [tip]) == {tip: None}
    assert peel(store, [tip], quarantine.env()) == {tip: tip}
    quarantine.check_connected([tip])
    with repo_lock(store):
        quarantine.migrate()
        assert move_refs(store, [RefChange(git_ref="refs/heads/main", old=ZERO_OID, new=tip)]) is None
        quarantine.migrate()
    assert not quarantine.path.exists()
    assert quarantine.env() == {}
    assert list_refs(store)["refs/heads/main"].oid == tip
    git(["fsck", "--strict", "--connectivity-only"], GIT_DIR=str(store))


def test_a_migration_that_was_cut_is_finished_by_doing_it_again(store: Path, repo: Path) -> None:
    tip = git(["rev-parse", "HEAD"], repo)
    quarantine = _receive(store, _pack(repo, tip))
    [pack] = quarantine.path.glob("pack/*.pack")
    os.link(pack, store / "objects/pack" / pack.name)
    quarantine.migrate()
    assert peel(store, [tip]) == {tip: tip}


def test_a_dropped_quarantine_leaves_the_repository_as_it_was(store: Path, repo: Path) -> None:
    quarantine = _receive(store, _pack(repo, git(["rev-parse", "HEAD"], repo)))
    quarantine.drop()
    quarantine.drop()
    assert list((store / "objects/pack").iterdir()) == []


def test_a_sweep_takes_only_old_quarantines_without_a_build(store: Path) -> None:
    old, live, young = (Quarantine.create(store) for _ in range(3))
    for quarantine in (old, live):
        for path in (quarantine.path / "pack", quarantine.path):
            os.utime(path, (1, 1))
    assert sweep(store, {live.quarantine_id}) == [old.quarantine_id]
    assert (old.path.exists(), live.path.exists(), young.path.exists()) == (False, True, True)


def test_a_transaction_without_changes_succeeds(store: Path) -> None:
    with prepare_refs(store, []) as refs:
        refs.commit()
    assert move_refs(store, []) is None


def test_what_a_killed_first_push_left_is_swept_when_it_is_old(store: Path) -> None:
    old, young = store.parent / ".staging-1", store.parent / ".staging-2"
    for path in (old, young):
        create_repository(path)
    os.utime(old, (1, 1))
    assert sweep_drafts(store.parent) == [".staging-1"]
    assert (old.exists(), young.exists(), store.exists()) == (False, True, True)


def test_sec_21_a_missing_blob_is_found(store: Path, repo: Path) -> None:
    tip = git(["rev-parse", "HEAD"], repo)
    tree = git(["rev-parse", "HEAD^{tree}"], repo)
    pack = subprocess.run(
        ["git", "pack-objects", "--stdout", "-q"], cwd=repo, env=CLIENT_ENV, check=True, capture_output=True,
        input=f"{tip}\n{tree}\n".encode(),
    ).stdout  # fmt: skip
    quarantine = Quarantine.create(store)
    with pytest.raises(Problem) as caught:
        ingest(quarantine, BytesWire(pack), max_bytes=2**31, shallow=(), on_progress=lambda _: None)
    assert caught.value.failure.code == "bad-pack"
    with pytest.raises(Problem) as caught:
        quarantine.check_connected([tip])
    assert caught.value.failure.code == "objects-missing"


def test_b18_a_thin_pack_against_known_objects_is_completed(store: Path, repo: Path) -> None:
    first = commit(repo, {"big.txt": "".join(f"line {number}\n" for number in range(2000))})
    quarantine = _receive(store, _pack(repo, first))
    quarantine.migrate()
    move_refs(store, [RefChange(git_ref="refs/heads/main", old=ZERO_OID, new=first)])
    second = commit(repo, {"big.txt": "".join(f"line {number}\n" for number in range(2001))})
    _receive(store, _pack(repo, second, f"^{first}")).check_connected([second])


def test_sec_20_a_failed_swap_is_an_answer_and_moves_nothing(store: Path, repo: Path) -> None:
    first = git(["rev-parse", "HEAD"], repo)
    second = commit(repo, {"app.py": "two"})
    _receive(store, _pack(repo, second)).migrate()
    move_refs(store, [RefChange(git_ref="refs/heads/main", old=ZERO_OID, new=first)])
    changes = [
        RefChange(git_ref="refs/heads/x", old=ZERO_OID, new=second),
        RefChange(git_ref="refs/heads/main", old=ZERO_OID, new=second),
    ]
    conflict = move_refs(store, changes)
    assert conflict == RefConflict(git_ref="refs/heads/main", expected=ZERO_OID, current=first)
    assert set(list_refs(store)) == {"refs/heads/main"}


def test_a_prepared_transaction_holds_others_off_and_moves_at_commit_only(store: Path, repo: Path) -> None:
    tip = git(["rev-parse", "HEAD"], repo)
    _receive(store, _pack(repo, tip)).migrate()
    change = RefChange(git_ref="refs/heads/main", old=ZERO_OID, new=tip)
    with prepare_refs(store, [change]):
        assert list_refs(store) == {}
        with pytest.raises(Problem) as caught:
            move_refs(store, [change])
        assert caught.value.failure.code == "ref-transaction-failed"
    assert list_refs(store) == {}
    with prepare_refs(store, [change]) as refs:
        refs.commit()
    assert list_refs(store)["refs/heads/main"].oid == tip
    with pytest.raises(Problem) as caught, prepare_refs(store, [change]):
        raise AssertionError("not reached")
    assert caught.value.failure.code == "ref-moved"


def test_ancestry_is_answered_and_an_absent_commit_is_an_error(store: Path, repo: Path) -> None:
    first = git(["rev-parse", "HEAD"], repo)
    second = commit(repo, {"app.py": "two"})
    _receive(store, _pack(repo, second)).migrate()
    assert is_ancestor(store, first, second)
    assert not is_ancestor(store, second, first)
    with pytest.raises(Problem):
        is_ancestor(store, "1" * 40, second)


def test_b14_the_lock_is_alone_and_its_wait_ends(store: Path) -> None:
    with repo_lock(store):
        with pytest.raises(Problem) as caught, repo_lock(store, timeout_s=0.1):
            raise AssertionError("not reached")
        assert caught.value.failure.code == "repo-busy"
    with repo_lock(store, timeout_s=0.1):
        pass


def test_sec_26_no_configuration_of_the_machine_and_no_variable_reaches_git(store: Path, tmp_path: Path) -> None:
    env = git_env(store)
    assert env["GIT_CONFIG_GLOBAL"] == "/dev/null"
    assert env["GIT_CONFIG_NOSYSTEM"] == "1"
    assert set(env) & {"LD_PRELOAD", "GIT_TRACE", "GIT_SSH", "USER"} == set()
    done = run_git(store, ["config", "--list", "--show-origin"])
    assert b"command line:\tsafe.barerepository=explicit" in done.stdout
    origins = {line.split(b"\t")[0] for line in done.stdout.splitlines()}
    assert origins == {b"command line:", b"file:" + str(store).encode() + b"/config"}


@pytest.mark.parametrize("damage", ["bomb", "self delta", "negative offset", "lying size"])
def test_sec_22_hostile_packs_end_in_a_refusal(store: Path, damage: str) -> None:
    def entry(kind: int, size: int, body: bytes) -> bytes:
        head = bytearray([(kind << 4) | (size & 15)])
        size >>= 4
        while size:
            head[-1] |= 0x80
            head.append(size & 0x7F)
            size >>= 7
        return bytes(head) + body

    match damage:
        case "bomb":
            objects = [entry(2, 8 * 1024**3, zlib.compress(b"\0" * 1000))]
        case "self delta":
            objects = [entry(7, 4, b"\1" * 20 + zlib.compress(b"\4\4\x90\4"))]
        case "negative offset":
            objects = [entry(6, 4, b"\xff\xff\xff\x7f" + zlib.compress(b"\4\4\x90\4"))]
        case _:
            objects = [entry(3, 100, zlib.compress(b"short"))]
    data = b"PACK\0\0\0\2" + len(objects).to_bytes(4, "big") + b"".join(objects)
    data += hashlib.sha1(data).digest()
    quarantine = Quarantine.create(store)
    with pytest.raises(Problem) as caught:
        ingest(quarantine, BytesWire(data), max_bytes=2**31, shallow=(), on_progress=lambda _: None)
    assert caught.value.failure.code == "bad-pack"


def test_sec_22_b13_a_tree_with_dot_git_never_gets_past_the_pack(store: Path, repo: Path) -> None:
    blob = git(["hash-object", "-w", "app.py"], repo)
    bad = _commit_of(repo, f"100644 blob {blob}\t.git\n")
    with pytest.raises(Problem) as caught:
        _receive(store, _pack(repo, bad))
    assert "hasDotgit" in str(caught.value.failure.fields["detail"])


def _commit_of(repo: Path, entries: str) -> str:
    tree = subprocess.run(
        ["git", "mktree", "--missing"],
        cwd=repo,
        env=CLIENT_ENV,
        input=entries,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    return git(["commit-tree", tree, "-m", "made"], repo)


Extract = Callable[..., Tree]


@pytest.fixture
def take(repo: Path, tmp_path: Path) -> Extract:
    def run(revision: str = "HEAD", name: str = "tree", **changes: object) -> Tree:
        commit_sha = git(["rev-parse", revision], repo)
        limits = changes.pop("limits", TreeLimits())
        assert isinstance(limits, TreeLimits)
        return extract(
            repo / ".git",
            commit_sha,
            quarantine_id=None,
            into=tmp_path / name,
            blobs_dir=tmp_path / "blobs",
            limits=limits,
        )

    return run


def test_b12_a_tree_is_written_as_it_was_pushed(repo: Path, take: Extract) -> None:
    (repo / "run.sh").write_text("#!/bin/sh\n")
    (repo / "run.sh").chmod(0o755)
    (repo / "src").mkdir()
    (repo / "src/link").symlink_to("../app.py")
    commit(repo, {"src/deep/er/x.txt": "x", "größe.txt": "ü"})
    tree = take()
    assert (tree.root / "src/deep/er/x.txt").read_text() == "x"
    assert (tree.root / "src/link").readlink() == Path("../app.py")
    assert (tree.root / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (tree.root / "app.py").stat().st_mode & 0o777 == 0o644
    assert (tree.root / "src").stat().st_mode & 0o777 == 0o755
    assert tree.files == 5
    assert tree.big_files == {}


def test_a_big_file_is_stored_once_and_linked(repo: Path, take: Extract, tmp_path: Path) -> None:
    content = os.urandom(BIG_BYTES)
    commit(repo, {"model.bin": content, "copy/model.bin": content, "small.bin": content[:-1]})
    first, second = take(name="one"), take(name="two")
    oid = git(["rev-parse", "HEAD:model.bin"], repo)
    stored = tmp_path / "blobs" / oid[:2] / oid
    assert stored.read_bytes() == content
    assert stored.stat().st_mode & 0o777 == 0o444
    assert stored.stat().st_nlink == 5
    assert first.big_files.keys() == second.big_files.keys() == {"model.bin", "copy/model.bin"}
    big = first.big_files["model.bin"]
    assert (big.git_oid, big.host_path, big.size_bytes) == (oid, stored, BIG_BYTES)
    assert [path.name for path in stored.parent.iterdir()] == [oid]


def test_a_big_program_keeps_its_mode_and_is_a_file_of_its_own(repo: Path, take: Extract) -> None:
    (repo / "tool").write_bytes(b"x" * BIG_BYTES)
    (repo / "tool").chmod(0o755)
    commit(repo, {})
    tree = take()
    assert (tree.root / "tool").stat().st_mode & 0o777 == 0o755
    assert tree.big_files == {}


def test_a_tree_is_read_out_of_a_quarantine(store: Path, repo: Path, tmp_path: Path) -> None:
    tip = git(["rev-parse", "HEAD"], repo)
    quarantine = _receive(store, _pack(repo, tip))
    tree = extract(
        store, tip, quarantine_id=quarantine.quarantine_id, into=tmp_path / "out", blobs_dir=tmp_path / "blobs"
    )
    assert (tree.root / "app.py").read_text() == "print('one')\n"


def test_f22_lfs_pointers_are_named(repo: Path, take: Extract) -> None:
    sha = "ab" * 32
    commit(repo, {"m.bin": f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha}\nsize 123456\n"})
    [pointer] = take().lfs_pointers
    assert (pointer.path, pointer.sha256, pointer.size_bytes) == ("m.bin", sha, 123456)


def _code(take: Extract, revision: str, **changes: object) -> str:
    with pytest.raises(Problem) as caught:
        take(revision, **changes)
    return caught.value.failure.code


def test_an_empty_tree_is_refused(repo: Path, take: Extract) -> None:
    assert _code(take, _commit_of(repo, "")) == "empty-tree"


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ("120000 blob {out}\tlink\n", "symlink-outside"), ("160000 commit {commit}\tsub\n", "submodule"),
        ("100644 blob {blob}\t.GIT\n", "bad-path"), ("100644 blob {blob}\tgit~1\n", "bad-path"),
        ("040000 tree {tree}\t..\n", "bad-path"),
        ("100644 blob {blob}\ta\n120000 blob {inside}\tA\n", "bad-path"),
        ("120000 blob {inside}\ta\n040000 tree {tree}\ta\n", "bad-path"),
        ("100644 blob {blob}\ta\n100644 blob {blob}\ta\n", "bad-tree"),
        ("100644 blob {absent}\ta\n", "objects-missing"),
    ],
)  # fmt: skip
def test_sec_23_sec_24_trees_that_reach_out_are_refused(
    repo: Path, take: Extract, tmp_path: Path, entry: str, code: str
) -> None:
    def blob(text: str) -> str:
        return subprocess.run(
            ["git", "hash-object", "-w", "--stdin"], cwd=repo, env=CLIENT_ENV, input=text, capture_output=True,
            text=True, check=True,
        ).stdout.strip()  # fmt: skip

    names = {
        "out": blob("../../outside"), "inside": blob("app.py"), "blob": blob("x"), "absent": "1" * 40,
        "commit": git(["rev-parse", "HEAD"], repo), "tree": git(["rev-parse", "HEAD^{tree}"], repo),
    }  # fmt: skip
    assert _code(take, _commit_of(repo, entry.format(**names))) == code
    assert not (tmp_path / "outside").exists()


def test_sec_25_attributes_change_nothing(repo: Path, take: Extract) -> None:
    files = {
        ".gitattributes": "* export-subst text eol=crlf ident\nsecret export-ignore\n",
        "v": "$Format:%H$ $Id$\n",
        "secret": "s\n",
    }
    commit(repo, files)
    tree = take()
    assert (tree.root / "v").read_bytes() == b"$Format:%H$ $Id$\n"
    assert (tree.root / "secret").exists()


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (TreeLimits(files=3), "tree-too-big"), (TreeLimits(size_bytes=10), "tree-too-big"),
        (TreeLimits(depth=2), "tree-too-big"),
        (TreeLimits(path_bytes=5), "bad-path"),
    ],
)  # fmt: skip
def test_sec_29_trees_have_limits(repo: Path, take: Extract, limits: TreeLimits, code: str) -> None:
    commit(repo, {"a/b/c.txt": "x" * 20, "d.txt": "x", "e.txt": "x"})
    assert _code(take, "HEAD", limits=limits) == code


def test_sec_29_a_tree_that_names_itself_a_million_times_ends(repo: Path, take: Extract) -> None:
    entries = f"040000 tree {git(['rev-parse', 'HEAD^{tree}'], repo)}\tx\n"
    for _ in range(6):
        tree = subprocess.run(
            ["git", "mktree"], cwd=repo, env=CLIENT_ENV, input=entries, capture_output=True, text=True, check=True
        ).stdout.strip()
        entries = "".join(f"040000 tree {tree}\t{letter}\n" for letter in "abcdefghij")
    assert _code(take, _commit_of(repo, entries), limits=TreeLimits(files=2000)) == "tree-too-big"


def test_a_small_tree_takes_milliseconds(repo: Path, take: Extract) -> None:
    commit(repo, {f"src/file{number}.py": "x = 1\n" * 20 for number in range(30)})
    began_at = time.perf_counter()
    take()
    assert time.perf_counter() - began_at < 0.5


def test_sec_29_a_third_push_of_one_principal_waits_for_its_turn() -> None:
    slots = PushSlots()
    entered = threading.Event()

    def third() -> None:
        with slots.hold(1):
            entered.set()

    with slots.hold(1):
        with slots.hold(1), slots.hold(2):
            thread = threading.Thread(target=third)
            thread.start()
            assert not entered.wait(0.1)
        assert entered.wait(5)
    thread.join(5)
