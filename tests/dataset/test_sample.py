from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workbench.dataset import open_catalogue
from workbench.dataset.check import check_data
from workbench.dataset.oxford import box_path, read_head_box
from workbench.dataset.run_data import SAMPLE_DIRECTORY
from workbench.dataset.sample import SampleOptions, ensure_sample, generate_sample, sample_set
from workbench.dataset.sample.animals import BREEDS, Breed
from workbench.dataset.sample.scene import photograph
from workbench.recipe import Data
from workbench.support.errors import UserError
from workbench.support.progress import Progress

SMALL = SampleOptions(seed=3, train_per_class=2, test_per_class=1, size=64)


def content(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


def test_sample_is_an_oxford_set_without_an_error_or_a_warning(tmp_path: Path) -> None:
    generate_sample(tmp_path / "set", SMALL)
    data = Data(dataset="sample", root=str(tmp_path / "set"))
    catalogue = open_catalogue(data, data_home=tmp_path)
    assert catalogue.breeds == tuple(breed.name for breed in BREEDS)
    assert len(catalogue.positions("train")) == 2 * len(BREEDS)
    assert len(catalogue.positions("test")) == len(BREEDS)
    species = [catalogue.species[record.species or 0] for record in catalogue.records]
    assert species == [BREEDS[record.breed].species for record in catalogue.records]
    assert {record.size for record in catalogue.records} == {(64, 64)}
    report = check_data(data, data_home=tmp_path)
    assert report.problems == ()
    assert report.head_boxes == 2 * len(BREEDS)


def test_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        generate_sample(tmp_path / name, SampleOptions(seed, 2, 1, 64))
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert content(tmp_path / "a") != content(tmp_path / "c")


def test_more_images_a_breed_leave_the_first_ones_as_they_were(tmp_path: Path) -> None:
    generate_sample(tmp_path / "few", SMALL)
    generate_sample(tmp_path / "many", SampleOptions(3, 3, 1, 64))
    for name in ("Striped_Loafer_1", "patched_scruff_2"):
        few, many = ((tmp_path / which / "images" / f"{name}.jpg").read_bytes() for which in ("few", "many"))
        assert few == many


@pytest.mark.parametrize("breed", BREEDS, ids=lambda breed: breed.name)
def test_head_box_bounds_the_head_that_was_drawn(breed: Breed) -> None:
    left, top, right, bottom = photograph(breed, 96, np.random.default_rng(7)).head
    assert 0 <= left < right <= 96
    assert 0 <= top < bottom <= 96
    # A head has a radius of 0.18 to 0.28 of the image, and ears on it.
    assert right - left >= 0.25 * 96
    assert bottom - top >= 0.25 * 96


def test_head_box_is_written_as_drawn(tmp_path: Path) -> None:
    generate_sample(tmp_path / "set", SMALL)
    drawn = photograph(BREEDS[0], 64, np.random.default_rng([3, 0, 0])).head
    head = read_head_box(box_path(tmp_path / "set", "Striped_Loafer_1"))
    assert (head.left * 64, head.top * 64, head.right * 64, head.bottom * 64) == pytest.approx(drawn)


def test_first_use_draws_the_set_and_the_second_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_set, "SampleOptions", lambda: SMALL)
    data = Data(dataset="sample")
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "cache"))
    first = open_catalogue(data, data_home=tmp_path)
    assert first.root == tmp_path / "cache" / SAMPLE_DIRECTORY
    made = (first.root / sample_set.MARKER).stat().st_mtime_ns
    assert open_catalogue(data, data_home=tmp_path).fingerprint == first.fingerprint
    assert (first.root / sample_set.MARKER).stat().st_mtime_ns == made


def test_a_set_in_the_data_home_is_used_and_nothing_is_drawn_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sample_set, "SampleOptions", lambda: SMALL)
    shared = tmp_path / "shared"
    shared.mkdir()
    open_catalogue(Data(dataset="sample"), data_home=shared)
    assert list(shared.iterdir()) == []
    generate_sample(shared / SAMPLE_DIRECTORY, SMALL)
    assert open_catalogue(Data(dataset="sample"), data_home=shared).root == shared / SAMPLE_DIRECTORY


def test_set_of_an_older_generator_is_drawn_anew_with_its_options(tmp_path: Path) -> None:
    root = tmp_path / "set"
    generate_sample(root, SMALL)
    before = content(root)
    marker = json.loads((root / sample_set.MARKER).read_text())
    (root / sample_set.MARKER).write_text(json.dumps({**marker, "generator": 0}))
    (root / "images" / "Striped_Loafer_1.jpg").write_bytes(b"old")
    ensure_sample(root)
    assert content(root) == before


def test_what_is_no_sample_set_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    for replace in (False, True):
        with pytest.raises(UserError, match="something else"):
            generate_sample(tmp_path, SMALL, replace=replace)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_other_options_replace_a_set_only_when_told_to(tmp_path: Path) -> None:
    generate_sample(tmp_path / "set", SMALL)
    other = SampleOptions(4, 2, 1, 64)
    with pytest.raises(UserError, match="other options"):
        generate_sample(tmp_path / "set", other)
    generate_sample(tmp_path / "set", other, replace=True)
    assert json.loads((tmp_path / "set" / sample_set.MARKER).read_text())["seed"] == 4


def test_failed_drawing_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match="No space left"):
        generate_sample(tmp_path / "set", SMALL)
    assert list(tmp_path.iterdir()) == []


def test_whoever_comes_second_waits_and_draws_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, drawn = sample_set._write_set, []

    def counted(root: Path, options: SampleOptions, reporter: Progress) -> None:
        drawn.append(root)
        draw(root, options, reporter)

    monkeypatch.setattr(sample_set, "_write_set", counted)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: generate_sample(tmp_path / "set", SMALL), range(3)))
    assert len(drawn) == 1


def test_two_processes_make_it_together_safely(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=generate_sample, args=(tmp_path / "set", SMALL)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(list((tmp_path / "set" / "images").iterdir())) == 3 * len(BREEDS)
    assert not [path for path in tmp_path.iterdir() if path.is_dir() and path.name != "set"]
