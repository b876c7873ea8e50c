"""Jobs about images in the worker: moved to another stack, verified, sent again. Real ledger, pretended processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from buildpacks.image.document import table
from buildpacks.image.store import APP_PATH, LayerStore
from buildpacks.image.verified import verified
from buildpacks.order import BigFile, BuildFailed, Json
from gitserver.errors import Failure, Problem
from gitserver.job import Job
from gitserver.ledger.records import Build, BuildKind, BuildState, EnvKind, Image, NewBuild, Release
from gitserver.push import ZERO_OID
from gitserver.remote.tree import Tree
from gitserver.world import World
from tests.services.corridor import Corridor, FakeKitchen


class StoringKitchen(FakeKitchen):
    """The application is a real layer, so that there is something to verify."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.store = LayerStore(root=root)
        self.more: dict[str, Json] = {"layers": []}

    def make(self, job: Job, tree: Tree) -> Image:
        sealed = self.store.seal(tree.root, APP_PATH)
        layer: dict[str, Json] = {"diff_id": sealed.diff_id, "kind": "app", "path": "", "size_bytes": 1}
        image = super().make(job, tree)
        return replace(image, config={**image.config, **self.more, "layers": [*_list(self.more["layers"]), layer]})


@pytest.fixture
def corridor(tmp_path: Path) -> Iterator[Corridor]:
    made = Corridor(tmp_path / "state")
    made.world.kitchen = made.kitchen = StoringKitchen(made.settings.state)
    yield made
    made.close()


def push(corridor: Corridor, text: str = "one") -> Build:
    (build,) = corridor.carry_out(corridor.order(corridor.commit(text)))
    assert build.state is BuildState.SUCCEEDED, corridor.log(build.id)
    return build


def move(corridor: Corridor, commit: str, stack: str = "new") -> NewBuild:
    return corridor.order(
        commit, kind=BuildKind.REBASE, git_ref="refs/deploy/rebase", old=commit, options={"stack": stack}
    )


def errand(corridor: Corridor, pushed: Build, kind: BuildKind) -> NewBuild:
    return corridor.order(
        pushed.commit, kind=kind, branch=f"({kind.value})", git_ref=f"refs/deploy/{kind.value}", old=pushed.commit,
        options={"image": str(pushed.image_digest)},
    )  # fmt: skip


def production(corridor: Corridor) -> Release:
    environment = corridor.ledger.environment(corridor.app.id, EnvKind.PRODUCTION, "main")
    assert environment is not None
    assert environment.release_id is not None
    release = corridor.ledger.release(environment.release_id)
    assert release is not None
    return release


def test_a_move_to_another_stack_is_a_release_of_the_same_commit(corridor: Corridor) -> None:
    pushed = push(corridor)
    (moved,) = corridor.carry_out(move(corridor, pushed.commit))
    assert moved.state is BuildState.SUCCEEDED
    release = production(corridor)
    assert (release.number, release.why, release.commit) == (2, "stack upgrade", pushed.commit)
    assert release.image_digest == f"{pushed.image_digest}-on-new"
    image = corridor.ledger.image(release.image_digest)
    assert image is not None
    assert image.config["base"] == "new"
    assert corridor.kitchen.built == [pushed.commit]
    assert corridor.ref("refs/heads/main") == pushed.commit


def test_a_release_that_does_not_come_up_on_the_new_stack_stays_on_the_old_one(corridor: Corridor) -> None:
    pushed = push(corridor)
    corridor.target.refuse = lambda spec: (
        Problem("start-crashed", how="status 1", log=("libfoo.so.1 is missing",))
        if spec.image["base"] == "new"
        else None
    )
    (moved,) = corridor.carry_out(move(corridor, pushed.commit))
    assert moved.failure is not None
    assert (moved.failure.code, moved.failure.log) == ("start-crashed", ("libfoo.so.1 is missing",))
    assert production(corridor).image_digest == pushed.image_digest
    assert corridor.ledger.image(f"{pushed.image_digest}-on-new") is None


def test_a_version_stays_bound_to_its_image_when_production_moves(corridor: Corridor) -> None:
    pushed = push(corridor)
    corridor.carry_out(corridor.order(pushed.commit, kind=BuildKind.PUBLISH, git_ref="refs/tags/v1", old=ZERO_OID))
    corridor.carry_out(move(corridor, pushed.commit))
    version = corridor.ledger.find_version(corridor.app.id, "v1")
    assert version is not None
    assert version.image_digest == pushed.image_digest
    assert production(corridor).image_digest == f"{pushed.image_digest}-on-new"


def test_a_move_of_what_never_served_is_refused(corridor: Corridor) -> None:
    (moved,) = corridor.carry_out(move(corridor, corridor.commit("one")))
    assert moved.failure is not None
    assert moved.failure.code == "nothing-serves"


def test_a_second_build_that_makes_the_same_image_verifies_it_and_releases_nothing(corridor: Corridor) -> None:
    pushed = push(corridor)
    (verified,) = corridor.carry_out(errand(corridor, pushed, BuildKind.VERIFY))
    assert verified.state is BuildState.SUCCEEDED
    log = corridor.log(verified.id)
    assert "-----> The store has all 1 layers as they were sealed\n" in log
    assert f"-----> The same image: {pushed.image_digest}\n" in log
    assert production(corridor).number == 1
    assert corridor.target.instances() == (f"b{pushed.id}",)


def test_a_second_build_that_makes_another_image_fails_with_what_differs(corridor: Corridor) -> None:
    pushed = push(corridor)
    assert isinstance(corridor.kitchen, FakeKitchen)
    corridor.kitchen.again = {"labels": {"a": "b"}}
    (verified,) = corridor.carry_out(errand(corridor, pushed, BuildKind.VERIFY))
    assert verified.failure is not None
    assert (verified.failure.code, verified.failure.fields["what"]) == (
        "image-differs",
        ["labels of the configuration"],
    )
    assert corridor.serving() == pushed.commit


def test_a_second_build_without_the_second_image_or_with_another_one_fails_with_what_differs(
    corridor: Corridor,
) -> None:
    here = corridor.settings.state / "gpu"
    layers: list[Json] = [_deps(corridor, here, text) for text in ("processors", "cards", "other cards")]
    doc: dict[str, Json] = {"layers": layers[:1], "variants": {"gpu": {"layers": layers[1:2], "buildpacks": []}}}
    kitchen = corridor.kitchen
    assert isinstance(kitchen, StoringKitchen)
    kitchen.more = doc
    pushed = push(corridor)
    (same,) = corridor.carry_out(errand(corridor, pushed, BuildKind.VERIFY))
    assert same.state is BuildState.SUCCEEDED, corridor.log(same.id)
    assert "The same variant gpu: sha256:" in corridor.log(same.id)
    kitchen.again = {"variants": {"gpu": {"layers": layers[2:], "buildpacks": []}}}
    (differs,) = corridor.carry_out(errand(corridor, pushed, BuildKind.VERIFY))
    assert differs.failure is not None
    assert [str(line)[:46] for line in _list(differs.failure.fields["what"])] == [
        f"variant gpu: layers/x/deps: {str(table(layers[1])['diff_id'])[:18]}"
    ]
    kitchen.again = {"variants": {}}
    (lacks,) = corridor.carry_out(errand(corridor, pushed, BuildKind.VERIFY))
    assert lacks.failure is not None
    assert lacks.failure.fields["what"] == ["variant gpu is not in the second build"]


def _deps(corridor: Corridor, folder: Path, text: str) -> dict[str, Json]:
    folder.mkdir()
    (folder / "package.py").write_text(text)
    sealed = LayerStore(root=corridor.settings.state).seal(folder, "layers/x/deps")
    return {"diff_id": sealed.diff_id, "kind": "layer", "path": "x/deps", "size_bytes": 1}


def _list(value: Json) -> list[Json]:
    assert isinstance(value, list)
    return value


def test_a_layer_that_was_changed_in_the_store_is_found(corridor: Corridor) -> None:
    pushed = push(corridor)
    (file,) = (corridor.settings.state / "layers" / "sha256").glob("*/predict.py")
    file.chmod(0o644)
    file.write_text("something else")
    (verified,) = corridor.carry_out(errand(corridor, pushed, BuildKind.VERIFY))
    assert verified.failure is not None
    assert (verified.failure.code, verified.failure.fields["layer"]) == ("layer-damaged", "application")


def test_an_image_is_sent_to_the_registry_again(corridor: Corridor) -> None:
    pushed = push(corridor)
    (sent,) = corridor.carry_out(errand(corridor, pushed, BuildKind.UPLOAD))
    assert sent.state is BuildState.SUCCEEDED
    assert corridor.kitchen.published == [pushed.image_digest]
    assert production(corridor).number == 1


def test_a_verification_holds_up_no_push(corridor: Corridor) -> None:
    pushed = push(corridor)
    orders = [errand(corridor, pushed, BuildKind.VERIFY), corridor.order(corridor.commit("two", pushed.commit))]
    verified, second = corridor.carry_out(*orders)
    assert (verified.state, second.state) == (BuildState.SUCCEEDED, BuildState.SUCCEEDED)


@pytest.mark.parametrize(("target", "is_kept"), [("docker", False), ("process", True)])
def test_a_damaged_layer_goes_with_its_big_file_unless_a_process_may_run_from_it(
    corridor: Corridor, target: str, is_kept: bool
) -> None:
    settings = replace(corridor.settings, target=target)
    world = World(settings, corridor.ledger, corridor.target, corridor.kitchen)
    stored = settings.state / "blobs" / "ab" / ("ab" * 20)
    other = stored.with_name("other")
    stored.parent.mkdir(parents=True)
    for path in (stored, other):
        path.write_bytes(b"weights")
    store = LayerStore(root=settings.state)
    sealed = store.seal_blob(BigFile(git_oid=stored.name, host_path=stored, size_bytes=7), "model/m.bin")
    world.drop_damaged(Failure(code="layer-damaged", fields={"layer": "model/m.bin", "diff_id": sealed.diff_id}))
    assert (store.has_layer(sealed.diff_id), stored.exists(), other.exists()) == (is_kept, is_kept, True)


def test_a_verification_that_finds_a_damaged_layer_names_it_by_content() -> None:
    with pytest.raises(BuildFailed) as caught:
        list(verified(lambda: iter([b"changed"]), f"sha256:{'0' * 64}", "application"))
    assert caught.value.fields["diff_id"] == f"sha256:{'0' * 64}"
