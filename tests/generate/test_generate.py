"""A folder of generated images: what lies in it, going on, and what is refused; pipelines are fakes here."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.generate.conftest import FACTS, FakePainter, noise
from tests.loader.conftest import Recorder
from tests.train.making import CLASSES, HEAD, PSEUDO, places, tiny, train
from workbench.dataset import decode_image, make_split, open_catalogue
from workbench.dataset.generated import RECORDS, SETTINGS, read_records, read_settings
from workbench.generate import make
from workbench.generate.image_plan import Wish
from workbench.generate.make import Outcome
from workbench.generate.pipeline import Picture
from workbench.recipe import Recipe
from workbench.support.atomic import atomic_write
from workbench.support.errors import UserError

WISH = Wish(model="somebody/fake", images=3, batch=2)


def run(
    recipe: Recipe, home: Path, painter: FakePainter, wish: Wish = WISH, recorder: Recorder | None = None
) -> Outcome:
    """Generate into `home/out`."""
    return make.generate(
        recipe, wish, home / "out", places(home), recorder or Recorder(), load=lambda *_: painter
    )


def files(out: Path) -> dict[str, bytes]:
    """The images of a folder by their path in it."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.glob("*/*.png"))}


@pytest.fixture(autouse=True)
def _extra_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake needs none of the extra's packages."""
    monkeypatch.setattr(make, "import_diffusers", lambda: None)


def test_every_class_has_its_images_and_each_says_how_it_was_made(recipe: Recipe, tmp_path: Path) -> None:
    painter = FakePainter()
    outcome = run(recipe, tmp_path, painter, replace(WISH, negative_prompt="a drawing"))
    assert outcome.made == 3 * CLASSES
    assert {one.images for one in outcome.classes} == {3}
    records = read_records(outcome.folder)
    kept = {record.path: record for record in records}
    found = files(outcome.folder)
    assert kept.keys() == found.keys()
    for path, content in found.items():
        record = kept[path]
        assert record.sha256 == hashlib.sha256(content).hexdigest()
        assert path.startswith(f"{record.class_name}/")
        assert (np.asarray(Image.open(outcome.folder / path)) == noise(record.seed)).all()
        assert (record.prompt, record.seed) in painter.asked
        assert record.class_name.replace("_", " ") in record.prompt
        assert record.prompt.endswith((" a breed of cat", " a breed of dog"))
        assert (record.negative_prompt, record.guidance, record.steps) == ("a drawing", 7.5, 2)
        assert (record.model, record.weights, record.lora) == ("somebody/fake", FACTS.weights, "")
    assert len({record.seed for record in records}) == len(records)
    assert painter.calls == 2 * CLASSES
    settings = read_settings(outcome.folder)
    assert settings is not None
    assert settings == outcome.settings
    assert f"torch {torch.__version__.partition('+')[0]}" in settings.made_with
    assert (settings.pipeline, settings.size, settings.seed, settings.tuned_on) == ("Fake", 32, 0, ())


@pytest.mark.parametrize("breaks_at", [1, 4, 7])
def test_interrupted_and_begun_again_it_ends_with_the_same_images(
    recipe: Recipe, tmp_path: Path, breaks_at: int
) -> None:
    whole = run(recipe, tmp_path / "whole", FakePainter()).folder
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "cut", FakePainter(breaks_at=breaks_at))
    (tmp_path / "cut" / "out" / RECORDS).open("ab").write(b'{"path":"torn')
    second = FakePainter()
    outcome = run(recipe, tmp_path / "cut", second)
    assert files(outcome.folder) == files(whole)
    assert 0 < outcome.made < 3 * CLASSES
    assert second.calls < 2 * CLASSES
    assert {record.path for record in read_records(outcome.folder)} == set(files(whole))
    again = FakePainter()
    assert run(recipe, tmp_path / "cut", again).made == 0
    assert again.calls == 0


def test_more_images_a_class_are_added_to_those_that_are_there(recipe: Recipe, tmp_path: Path) -> None:
    few = files(run(recipe, tmp_path, FakePainter()).folder)
    more = run(recipe, tmp_path, FakePainter(), replace(WISH, images=5))
    at_once = run(recipe, tmp_path / "other", FakePainter(), replace(WISH, images=5))
    assert files(more.folder) == files(at_once.folder)
    assert few.items() <= files(more.folder).items()


def test_images_do_not_depend_on_which_other_classes_are_asked_for(recipe: Recipe, tmp_path: Path) -> None:
    every = files(run(recipe, tmp_path / "every", FakePainter()).folder)
    name = read_records(tmp_path / "every" / "out")[-1].class_name
    one = files(run(recipe, tmp_path / "one", FakePainter(), replace(WISH, classes=(name,))).folder)
    assert one == {path: content for path, content in every.items() if path.startswith(f"{name}/")}


def test_another_seed_paints_other_images_and_is_refused_in_the_same_folder(
    recipe: Recipe, tmp_path: Path
) -> None:
    first = files(run(recipe, tmp_path, FakePainter()).folder)
    other = files(run(recipe, tmp_path / "other", FakePainter(), replace(WISH, seed=1)).folder)
    assert first.keys() == other.keys()
    assert not set(first.values()) & set(other.values())
    with pytest.raises(UserError, match="made with seed = 0, and now it is 1"):
        run(recipe, tmp_path, FakePainter(), replace(WISH, seed=1))
    with pytest.raises(UserError, match="made with weights = "):
        run(recipe, tmp_path, FakePainter(facts=replace(FACTS, weights="1" * 64)))
    with pytest.raises(UserError, match="made with split = "):
        run(tiny(HEAD, Path(recipe.data.root), "data.split_seed=1"), tmp_path, FakePainter())
    assert files(tmp_path / "out") == first


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("part", ["test", "validation"])
def test_near_copies_of_measured_images_are_refused_counted_and_recorded(
    recipe: Recipe, tmp_path: Path, part: str, mirrored: bool
) -> None:
    catalogue = open_catalogue(recipe.data, data_home=tmp_path)
    split = make_split(catalogue, recipe.data, None)
    position = int(getattr(split, part)[0])
    planted = decode_image(catalogue.records[position].path)
    planted = planted[:, ::-1] if mirrored else planted
    lighter = np.clip(planted.astype(np.int64) + 3, 0, 255).astype(np.uint8)
    first: list[int] = []

    def pictures(_prompt: str, seed: int) -> np.ndarray | None:
        first.append(seed)
        return lighter if seed == first[0] else None  # the first image alone is a copy

    outcome = run(recipe, tmp_path, FakePainter(pictures))
    copied = outcome.classes[0]
    assert (copied.images, copied.near_copies, copied.refused) == (3, 1, 1)
    assert sum(one.refused for one in outcome.classes) == 1
    (record,) = [record for record in read_records(outcome.folder) if record.refused]
    assert record.twin == catalogue.records[position].id
    assert record.refused.startswith(f"near copy of a {part} image: ")
    assert record.refused.endswith("mirrored") == mirrored
    assert (record.path, record.sha256) == ("", "")
    assert len(files(outcome.folder)) == 3 * CLASSES


def test_a_training_image_is_no_measured_one(recipe: Recipe, tmp_path: Path) -> None:
    catalogue = open_catalogue(recipe.data, data_home=tmp_path)
    labelled = make_split(catalogue, recipe.data, None).labelled
    planted = decode_image(catalogue.records[int(labelled[0])].path)
    outcome = run(recipe, tmp_path, FakePainter(lambda *_: planted), replace(WISH, images=1, batch=1))
    assert sum(one.near_copies for one in outcome.classes) == 0


def test_a_crop_of_a_test_image_is_found_by_the_trunks_features(sample: Path, tmp_path: Path) -> None:
    pretrained = tiny(
        HEAD, sample, "model.backbone=efficientnet_lite0", "model.weights=default", "data.image_size=64"
    )
    catalogue = open_catalogue(pretrained.data, data_home=tmp_path)
    position = int(catalogue.positions("test")[0])
    crop = np.ascontiguousarray(decode_image(catalogue.records[position].path)[3:-2, 5:-1])
    wish = replace(WISH, images=1, batch=1, similarity=0.8)
    by_look = run(pretrained, tmp_path / "look", FakePainter(lambda *_: crop), replace(wish, similarity=0.0))
    assert by_look.classes[0].near_copies == 0, "the crop is too near by look to tell features apart"
    outcome = run(pretrained, tmp_path, FakePainter(lambda *_: crop), wish)
    assert {one.images for one in outcome.classes} == {0}
    for record in read_records(outcome.folder):
        assert record.refused.startswith("near copy of a test image: cosine of features")
        assert record.twin == catalogue.records[position].id
    kept = run(pretrained, tmp_path / "noise", FakePainter(), wish)
    assert {one.images for one in kept.classes} == {1}


def test_a_class_that_is_refused_again_and_again_is_left_with_a_warning(
    recipe: Recipe, tmp_path: Path
) -> None:
    blank, recorder = np.full((32, 32, 3), 7, dtype=np.uint8), Recorder()
    painter = FakePainter(lambda prompt, _: blank if painter.asked[0][0] == prompt else None)
    outcome = run(recipe, tmp_path, painter, recorder=recorder)
    assert [one.images for one in outcome.classes] == [0] + [3] * (CLASSES - 1)
    assert outcome.classes[0].refused == 6
    assert {r.refused for r in read_records(outcome.folder) if r.refused} == {"blank: every pixel is #070707"}
    (warned,) = [text for text in recorder.messages("warning") if "missing" in text]
    assert warned == f"{outcome.classes[0].name}: 3 of 3 are missing, too many were refused"


def test_numbers_out_of_range_say_which_precision_helps(recipe: Recipe, tmp_path: Path) -> None:
    black = Picture(np.zeros((32, 32, 3), dtype=np.uint8), "not a number: out of the precision's range")
    with pytest.raises(UserError, match="--precision fp32"):
        run(recipe, tmp_path, FakePainter(lambda *_: black))


def test_want_of_memory_says_what_needs_less(recipe: Recipe, tmp_path: Path) -> None:
    error = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 99 bytes")
    with pytest.raises(UserError, match=r"memory is used up: 2 images of 32 pixels[\s\S]*--batch 1"):
        run(recipe, tmp_path, FakePainter(error=error))
    with pytest.raises(RuntimeError, match="a fault of another kind"):
        run(recipe, tmp_path, FakePainter(error=RuntimeError("a fault of another kind")))


def test_a_full_disk_is_told_and_the_same_command_goes_on(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def full(path: Path, content: bytes) -> None:
        if len(written) == 4:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        written.append(path)
        atomic_write(path, content)

    with monkeypatch.context() as patched:
        patched.setattr("workbench.generate.make.atomic_write", full)
        with pytest.raises(UserError, match="No space left on device"):
            run(recipe, tmp_path, FakePainter())
    assert len(read_records(tmp_path / "out")) == 4
    assert files(run(recipe, tmp_path, FakePainter()).folder) == files(
        run(recipe, tmp_path / "other", FakePainter()).folder
    )


def test_an_image_that_was_removed_by_hand_stays_away(recipe: Recipe, tmp_path: Path) -> None:
    out = run(recipe, tmp_path, FakePainter()).folder
    gone = out / read_records(out)[0].path
    gone.unlink()
    outcome = run(recipe, tmp_path, FakePainter())
    assert (outcome.made, outcome.classes[0].removed) == (0, 1)
    assert not gone.exists()


def test_a_strange_folder_and_one_in_use_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "holiday").mkdir(parents=True)
    with pytest.raises(UserError, match="holiday lies in it"):
        run(recipe, tmp_path, FakePainter())
    shutil.rmtree(out)
    with make._own_folder(out), pytest.raises(UserError, match="another petbench generate works in it"):
        run(recipe, tmp_path, FakePainter())


def test_a_damaged_record_is_named_by_its_line(recipe: Recipe, tmp_path: Path) -> None:
    out = run(recipe, tmp_path, FakePainter()).folder
    lines = (out / RECORDS).read_text().splitlines(keepends=True)
    (out / RECORDS).write_text("".join([lines[0], '{"path": 3}\n', *lines[1:]]))
    with pytest.raises(UserError, match=rf"{RECORDS}:2: damaged"):
        read_records(out)
    (out / SETTINGS).write_text("data = 1\n")
    with pytest.raises(UserError, match=f"{SETTINGS}: damaged"):
        read_settings(out)


def test_a_run_reads_the_folder_as_extra_labelled_images_without_a_stray(
    recipe: Recipe, sample: Path, tmp_path: Path
) -> None:
    out = run(recipe, tmp_path, FakePainter()).folder
    trained = train(tiny(HEAD, sample, f"data.extra_labelled={out}"), tmp_path)
    assert trained.results.extra_labelled == 3 * CLASSES
    assert not [text for text in trained.recorder.messages("warning") if "passed over" in text]


def test_a_run_warns_where_it_validates_by_images_that_the_pipeline_was_tuned_on(
    recipe: Recipe, sample: Path, tmp_path: Path
) -> None:
    out = run(recipe, tmp_path, FakePainter()).folder
    catalogue = open_catalogue(recipe.data, data_home=tmp_path)
    split = make_split(catalogue, recipe.data, None)
    validates = catalogue.records[int(split.validation[0])].id
    trains = catalogue.records[int(split.labelled[0])].id
    text = (out / SETTINGS).read_text()
    (out / SETTINGS).write_text(text.replace("tuned_on = []", f"tuned_on = {json.dumps([trains])}"))
    extra = f"data.extra_labelled={out}"
    quiet = train(tiny(HEAD, sample, extra), tmp_path / "quiet")
    assert not [t for t in quiet.recorder.messages("warning") if "tuned" in t]
    (out / SETTINGS).write_text(text.replace("tuned_on = []", f"tuned_on = {json.dumps([validates])}"))
    warned = train(tiny(HEAD, sample, extra), tmp_path / "warned")
    (told,) = [t for t in warned.recorder.messages("warning") if "tuned" in t]
    assert told.startswith("the pipeline behind the extra images was tuned on 1 of the images that measure")
    assert validates in told


def test_extra_images_of_the_recipe_itself_play_no_part(sample: Path, tmp_path: Path) -> None:
    """The folder may be the one that the recipe trains on: it need not be there yet."""
    named = tiny(HEAD + PSEUDO, sample, f"data.extra_labelled={tmp_path / 'out'}")
    outcome = run(named, tmp_path, FakePainter())
    assert run(named, tmp_path, FakePainter()).made == 0
    assert outcome.settings == read_settings(outcome.folder)
