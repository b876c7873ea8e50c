"""Collections over a real ledger, real repositories, a real layer store and a real engine: what is needed survives."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from buildpacks.image.document import parse_layers
from buildpacks.image.lease import renew
from buildpacks.image.store import APP_PATH, LayerStore
from buildpacks.order import Json
from gitserver.errors import Problem
from gitserver.gc.collection import Kind, Report
from gitserver.gc.collector import Collector
from gitserver.gc.desk import CollectionDesk
from gitserver.job import Job
from gitserver.ledger.records import Build, BuildKind, BuildState, EnvKind, Image
from gitserver.push import ZERO_OID
from gitserver.remote.tree import Tree
from gitserver.settings import Settings
from tests.services.corridor import Corridor, FakeKitchen

AT_ONCE = timedelta(0)


class SealingKitchen(FakeKitchen):
    """Images have real layers: the same dependencies for all, a model for each, and the application."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.store = LayerStore(root=settings.state)
        self._drafts = settings.state / "layers" / "drafts"

    def make(self, job: Job, tree: Tree) -> Image:
        layers: list[Json] = [self._seal("layer", "algo_python/deps", b"the same for all" * 4096)]
        layers.append(self._seal("slice", "model/m.bin", job.build.commit.encode() * 1024))
        sealed = self.store.seal(tree.root, APP_PATH)
        layers.append({"diff_id": sealed.diff_id, "kind": "app", "path": "", "size_bytes": sealed.size_bytes})
        document: dict[str, Json] = {"base": "host", "processes": [], "buildpacks": [], "model": None, "layers": layers}
        digest = f"sha256:{sealed.diff_id[7:]}"
        self.store.compose(document, digest)
        image = super().make(job, tree)
        return replace(image, digest=digest, config=document)

    def _seal(self, kind: str, path: str, data: bytes) -> Json:
        draft = self._drafts / os.urandom(8).hex()
        place = draft / (path if kind == "slice" else "file")
        place.parent.mkdir(parents=True)
        place.write_bytes(data)
        sealed = self.store.seal(draft, APP_PATH if kind == "slice" else f"layers/{path}")
        return {"diff_id": sealed.diff_id, "kind": kind, "path": path, "size_bytes": sealed.size_bytes}


@pytest.fixture
def corridor(tmp_path: Path) -> Iterator[Corridor]:
    made = Corridor(tmp_path / "state", keep_releases="2", keep_days="0")
    made.world.kitchen = made.kitchen = SealingKitchen(made.settings)
    yield made
    made.close()


def collector(corridor: Corridor) -> Collector:
    return Collector(corridor.settings, corridor.ledger, corridor.target, None, lambda: None)


def collect(corridor: Corridor, *, dry_run: bool = False, lease: timedelta = AT_ONCE) -> Report:
    return collector(corridor).collect(dry_run=dry_run, lease=lease)


def push(corridor: Corridor, count: int) -> list[Build]:
    """So many releases of production, one after the other."""
    builds, parent = [], None
    for number in range(count):
        parent = corridor.commit(f"release {number} {os.urandom(4).hex()}", parent)
        (build,) = corridor.carry_out(corridor.order(parent))
        assert build.state is BuildState.SUCCEEDED, corridor.log(build.id)
        builds.append(build)
    wait_for_drains()
    return builds


def wait_for_drains() -> None:
    """A replaced instance keeps its image until it has ended."""
    for thread in threading.enumerate():
        if thread.name.startswith("drain-"):
            thread.join(10)


def is_whole(corridor: Corridor, digest: str | None) -> bool:
    """The image has its record and every layer."""
    assert digest is not None
    image, store = corridor.ledger.image(digest), LayerStore(root=corridor.settings.state)
    if image is None:
        return False
    assert all(store.has_layer(layer.diff_id) for layer in parse_layers(image.config))
    return store.image_path(digest).is_dir()


def layers(corridor: Corridor) -> set[str]:
    return {path.name for path in (corridor.settings.state / "layers" / "sha256").iterdir()}


def roll_back(corridor: Corridor, build: Build, number: int) -> Build:
    order = corridor.order(
        build.commit, kind=BuildKind.ROLLBACK, git_ref="refs/deploy/rollback", old=build.commit,
        options={"release": str(number)},
    )  # fmt: skip
    return corridor.carry_out(order)[0]


def test_sec_56_a_rollback_after_a_collection_works(corridor: Corridor) -> None:
    builds = push(corridor, 4)
    collect(corridor)
    assert [is_whole(corridor, build.image_digest) for build in builds] == [False, False, True, True]
    back = roll_back(corridor, builds[2], 3)
    assert back.state is BuildState.SUCCEEDED
    assert corridor.serving() == builds[2].commit


def test_a_release_beyond_what_is_kept_says_so_and_how_to_get_it_back(corridor: Corridor) -> None:
    builds = push(corridor, 4)
    collect(corridor)
    back = roll_back(corridor, builds[0], 1)
    assert back.failure is not None
    assert back.failure.code == "image-collected"
    assert f"git push algo {builds[0].commit[:12]}:refs/heads/redeploy" in corridor.log(back.id)
    assert corridor.serving() == builds[3].commit


def test_a_commit_whose_image_went_is_built_again_when_it_is_published(corridor: Corridor) -> None:
    builds = push(corridor, 4)
    collect(corridor)
    (published,) = corridor.carry_out(
        corridor.order(builds[0].commit, kind=BuildKind.PUBLISH, git_ref="refs/tags/v1", old=ZERO_OID)
    )
    assert published.state is BuildState.SUCCEEDED
    assert is_whole(corridor, published.image_digest)
    assert corridor.kitchen.built.count(builds[0].commit) == 2


def test_a_version_stays_for_ever(corridor: Corridor) -> None:
    (first,) = push(corridor, 1)
    corridor.carry_out(corridor.order(first.commit, kind=BuildKind.PUBLISH, git_ref="refs/tags/v1", old=ZERO_OID))
    push(corridor, 3)
    collect(corridor)
    assert is_whole(corridor, first.image_digest)


def test_a_preview_keeps_its_own_releases_and_a_removed_one_keeps_none(corridor: Corridor) -> None:
    commit = corridor.commit("preview")
    preview = {"env_kind": EnvKind.PREVIEW, "branch": "x", "git_ref": "refs/heads/x", "old": ZERO_OID}
    (build,) = corridor.carry_out(corridor.order(commit, **preview))
    push(corridor, 3)
    collect(corridor)
    assert is_whole(corridor, build.image_digest)
    (gone,) = corridor.carry_out(corridor.order(ZERO_OID, **{**preview, "kind": BuildKind.DELETE, "old": commit}))
    assert gone.state is BuildState.SUCCEEDED
    wait_for_drains()
    collect(corridor)
    assert not is_whole(corridor, build.image_digest)


def test_a_dry_run_says_what_goes_and_takes_nothing(corridor: Corridor) -> None:
    push(corridor, 4)
    before = disk(corridor)
    planned = collect(corridor, dry_run=True)
    assert disk(corridor) == before
    assert planned.images
    done = collect(corridor)
    assert replace(done, dry_run=True) == planned
    assert not collect(corridor).gone


def disk(corridor: Corridor) -> int:
    """Bytes on the disk, as du counts them."""
    places = [corridor.settings.state / name for name in ("layers", "images")]
    done = subprocess.run(["du", "-s", "-B1", "-c", *places], capture_output=True, text=True, check=True, timeout=30)
    return int(done.stdout.splitlines()[-1].split()[0])


def test_the_freed_bytes_are_those_that_the_disk_got_back(corridor: Corridor) -> None:
    push(corridor, 5)
    before = disk(corridor)
    report = collect(corridor)
    freed = before - disk(corridor)
    assert freed == report.freed_bytes > 0
    assert {found.kind for found in report.gone} == {Kind.IMAGE, Kind.LAYER}


def test_layers_that_a_kept_image_shares_stay(corridor: Corridor) -> None:
    push(corridor, 4)
    report = collect(corridor)
    # Of two images: model and application of each; their dependencies are everybody's
    assert [found.kind for found in report.gone].count(Kind.LAYER) == 4


def test_a_layer_that_a_running_build_adopted_stays_though_no_record_names_it(corridor: Corridor) -> None:
    builds = push(corridor, 4)
    image = corridor.ledger.image(str(builds[0].image_digest))
    assert image is not None
    adopted, left = parse_layers(image.config)[1:]
    store = LayerStore(root=corridor.settings.state)
    long_ago = time.time() - 100_000
    for path in store.root.glob("*/sha256/*"):
        os.utime(path, (long_ago, long_ago))
    assert renew(store.root, store.layer_path(adopted.diff_id))
    corridor.ledger.forget_images([image.digest])
    collect(corridor, lease=timedelta(hours=6))
    assert (store.has_layer(adopted.diff_id), store.has_layer(left.diff_id)) == (True, False)


def test_a_layer_that_is_adopted_between_the_look_and_the_grip_stays(corridor: Corridor) -> None:
    """The collector looks again under the lock: here the build is quicker by exactly that much."""
    builds = push(corridor, 4)
    image = corridor.ledger.image(str(builds[0].image_digest))
    assert image is not None
    wanted = parse_layers(image.config)[1]
    store = LayerStore(root=corridor.settings.state)
    long_ago = time.time() - 100_000
    for path in store.root.glob("*/sha256/*"):
        os.utime(path, (long_ago, long_ago))
    corridor.ledger.forget_images([image.digest])

    class Adopting(Collector):
        def _take_one(self, found: object, trash: Path, lease: timedelta) -> None:
            renew(store.root, store.layer_path(wanted.diff_id))
            super()._take_one(found, trash, lease)  # type: ignore[arg-type]  # passed on as it came

    one = Adopting(corridor.settings, corridor.ledger, corridor.target, None, lambda: None)
    report = one.collect(dry_run=False, lease=timedelta(hours=6))
    assert store.has_layer(wanted.diff_id)
    assert [line for line in report.kept if line.startswith(f"layer {wanted.diff_id[7:19]}")]


def test_a_running_job_keeps_the_image_of_its_commit(corridor: Corridor) -> None:
    builds = push(corridor, 4)
    order = corridor.order(builds[0].commit, kind=BuildKind.ROLLBACK, git_ref="refs/deploy/rollback",
                           options={"release": "1"})  # fmt: skip
    corridor.ledger.enqueue([order])
    collect(corridor)
    assert is_whole(corridor, builds[0].image_digest)
    assert not is_whole(corridor, builds[1].image_digest)


def test_a_job_that_comes_while_the_collection_decides_keeps_its_image(corridor: Corridor) -> None:
    builds = push(corridor, 4)
    order = corridor.order(builds[0].commit, kind=BuildKind.PUBLISH, git_ref="refs/tags/v1", old=ZERO_OID)
    corridor.ledger.enqueue([order])
    assert corridor.ledger.forget_images([str(builds[0].image_digest), str(builds[1].image_digest)]) == [
        builds[1].image_digest
    ]


def test_what_a_crash_left_half_taken_away_goes_with_the_next_collection(corridor: Corridor) -> None:
    push(corridor, 4)
    trash = corridor.settings.state / "trash" / "x"
    trash.mkdir(parents=True)
    (trash / "file").write_text("x")
    collect(corridor)
    assert not trash.parent.exists()


def test_files_that_are_not_ours_stay(corridor: Corridor) -> None:
    push(corridor, 3)
    state = corridor.settings.state
    foreign = [state / "layers" / "sha256" / "README", state / "images" / "sha256" / "lost+found"]
    for path in foreign:
        path.mkdir()
    collect(corridor)
    assert all(path.is_dir() for path in foreign)


def test_a_model_file_that_no_layer_shares_goes_and_one_that_is_shared_stays(corridor: Corridor) -> None:
    push(corridor, 1)
    folder = corridor.settings.state / "blobs" / "ab"
    folder.mkdir(parents=True)
    lonely, shared = folder / ("ab" + "0" * 38), folder / ("ab" + "1" * 38)
    lonely.write_bytes(b"x" * 10_000)
    shared.write_bytes(b"y" * 10_000)
    (corridor.settings.state / "elsewhere").hardlink_to(shared)
    report = collect(corridor)
    assert (lonely.exists(), shared.exists()) == (False, True)
    assert [found.kind for found in report.gone] == [Kind.MODEL_FILE]


def test_there_is_one_collection_at_a_time_and_its_report_can_be_fetched_later(corridor: Corridor) -> None:
    push(corridor, 3)
    one = collector(corridor)
    desk = CollectionDesk(lambda dry_run: one.collect(dry_run=dry_run, lease=AT_ONCE))
    assert desk.state() == {"collection": 0, "running": False, "report": None, "trouble": ""}
    begun = desk.begin(dry_run=True)
    assert begun["collection"] == 1
    ended = wait_for(lambda: None if desk.state()["running"] else desk.state())
    assert isinstance(ended["report"], dict)
    assert ended["report"]["dry_run"] is True
    assert desk.begin(dry_run=True)["collection"] == 2
    wait_for(lambda: None if desk.state()["running"] else desk.state())


def test_a_collection_that_fails_says_why_and_the_next_one_may_begin() -> None:
    def fail(_: bool) -> Report:
        raise OSError("disk on fire")

    desk = CollectionDesk(fail)
    desk.begin(dry_run=False)
    ended = wait_for(lambda: None if desk.state()["running"] else desk.state())
    assert (ended["trouble"], ended["report"]) == ("disk on fire", None)
    desk.begin(dry_run=False)


def test_a_second_collection_is_refused_while_one_is_under_way() -> None:
    def last_long(_: bool) -> Report:
        time.sleep(1)
        return Report(dry_run=True, images=[], gone=[], freed_bytes=0, engine_bytes=0, kept=[])

    desk = CollectionDesk(last_long)
    desk.begin(dry_run=True)
    with pytest.raises(Problem) as caught:
        desk.begin(dry_run=True)
    assert caught.value.failure.code == "gc-busy"
    wait_for(lambda: None if desk.state()["running"] else desk.state())


def wait_for(look: Callable[[], dict[str, Json] | None]) -> dict[str, Json]:
    deadline_at = time.monotonic() + 20
    while time.monotonic() < deadline_at:
        found = look()
        if found is not None:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not end")
