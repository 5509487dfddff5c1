from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.dataset.pictures import box, box_file, jpeg, make_folder, make_oxford, picture, small_oxford
from workbench.dataset.check import DataReport, check_data
from workbench.recipe import Data
from workbench.support.errors import UserError


def look_over(root: Path, dataset: str = "oxford-iiit-pet") -> DataReport:
    data = Data.model_validate({"dataset": dataset, "root": str(root)})
    return check_data(data, data_home=Path("/nowhere"))


def found(report: DataReport) -> set[tuple[str, str, str]]:
    return {(problem.level, problem.kind, problem.place) for problem in report.problems}


def test_clean_set_has_counts_and_no_problem(tmp_path: Path) -> None:
    report = look_over(small_oxford(tmp_path))
    assert report.problems == ()
    assert [(row.name, row.train, row.test) for row in report.classes] == [("Tom", 2, 1), ("rex", 2, 1)]
    assert (report.images("train"), report.images("test"), report.head_boxes) == (4, 2, 4)


def test_every_odd_file_is_named_with_what_is_odd(tmp_path: Path) -> None:
    root = small_oxford(tmp_path)
    images = root / "images"
    picture(1).save(images / "Tom_1.jpg", "GIF")
    picture(2).convert("L").save(images / "Tom_2.jpg", "JPEG")
    picture(3).convert("RGBA").save(images / "rex_1.jpg", "PNG")
    (images / "rex_2.jpg").write_bytes(jpeg(4) + b"tail")
    whole = jpeg(5, 256, 256)
    (images / "Tom_3.jpg").write_bytes(whole[: int(len(whole) * 0.8)])
    picture(6).convert("CMYK").save(images / "rex_3.jpg", "JPEG")
    report = look_over(root)
    assert report.errors == ()
    odd: dict[str, list[str]] = {}
    for problem in report.problems:
        assert (problem.level, problem.kind) == ("warning", "odd file")
        odd.setdefault(problem.place, []).append(problem.what)
    assert odd["Tom_1"] == ["GIF content under a .jpg name", "palette pixels"]
    assert odd["Tom_2"] == ["grey pixels"]
    assert odd["rex_1"] == ["PNG content under a .jpg name", "RGBA pixels"]
    assert odd["rex_2"] == ["4 bytes after the end of the image"]
    assert odd["Tom_3"] == ["truncated: the lower part is missing"]
    assert odd["rex_3"] == ["CMYK pixels"]


def test_unreadable_image_is_a_warning_and_a_missing_one_an_error(tmp_path: Path) -> None:
    root = small_oxford(tmp_path)
    (root / "images" / "Tom_1.jpg").write_text("no")
    (root / "images" / "Tom_3.jpg").unlink()
    report = look_over(root)
    assert found(report) == {
        ("warning", "unreadable image", "Tom_1"),
        ("error", "missing image", "Tom_3"),
    }
    assert [(row.train, row.test) for row in report.classes] == [(1, 0), (2, 1)]


def test_head_boxes_that_are_missing_impossible_or_of_no_image_are_named(tmp_path: Path) -> None:
    root = small_oxford(tmp_path)
    box_file(root, "Tom_1").unlink()
    box_file(root, "Tom_2").write_text(box(30, 5, 10, 25))
    box_file(root, "ghost_1").write_text(box())
    assert found(look_over(root)) == {
        ("warning", "no head box", "Tom_1"),
        ("warning", "bad head box", "Tom_2.xml"),
        ("warning", "head box of no image", "ghost_1.xml"),
    }


def test_images_in_no_list_and_stray_files_are_named(tmp_path: Path) -> None:
    root = small_oxford(tmp_path)
    (root / "images" / "Tom_9.jpg").write_bytes(jpeg(9))
    (root / "images" / "Tom_1.mat").touch()
    assert found(look_over(root)) == {
        ("warning", "image in no list", "Tom_9"),
        ("warning", "stray file", "images/Tom_1.mat"),
    }


def test_lists_that_contradict_themselves_are_all_reported(tmp_path: Path) -> None:
    train = ["Tom_1 1 1 1", "rex_1 2 2 1", "Tom_1 1 1 1", "nonsense"]
    make_oxford(tmp_path, train, ["rex_1 2 2 1", "Tom_2 1 2 1"])
    levels = {(p.level, p.kind) for p in look_over(tmp_path).problems if p.kind != "no head box"}
    assert levels == {
        ("error", "listed twice"),
        ("error", "bad line"),
        ("error", "in train and test"),
        ("error", "conflicting labels"),
        ("warning", "image in no list"),
    }


def test_class_without_training_image_is_an_error(tmp_path: Path) -> None:
    make_oxford(tmp_path, ["Tom_1 1 1 1"], ["Tom_2 1 1 1", "rex_1 2 2 1"])
    assert [(p.kind, p.place) for p in look_over(tmp_path).errors] == [
        ("class without training image", "rex")
    ]


def test_same_file_under_two_labels_is_an_error_and_in_two_parts_a_warning(tmp_path: Path) -> None:
    root = small_oxford(tmp_path)
    images = root / "images"
    shutil.copy(images / "Tom_1.jpg", images / "rex_3.jpg")
    shutil.copy(images / "rex_1.jpg", images / "rex_2.jpg")
    shutil.copy(images / "Tom_2.jpg", images / "Tom_3.jpg")
    report = look_over(root)
    assert found(report) == {
        ("error", "one picture, two labels", "Tom_1"),
        ("warning", "copy", "rex_1"),
        ("warning", "copy in train and test", "Tom_2"),
    }
    assert report.problems[0].what == "same file as rex_3: Tom and rex"


def test_recompressed_copy_across_the_parts_is_found_by_its_look(tmp_path: Path) -> None:
    root = small_oxford(tmp_path)
    with Image.open(root / "images" / "rex_1.jpg") as image:
        image.resize((80, 60)).save(root / "images" / "rex_3.jpg", quality=60)
    assert found(look_over(root)) == {("warning", "alike in train and test", "rex_1")}


def test_two_blank_pictures_are_not_called_alike(tmp_path: Path) -> None:
    root = small_oxford(tmp_path)
    for name, colour in (("Tom_1", "grey"), ("Tom_3", "silver")):
        Image.new("RGB", (40, 30), colour).save(root / "images" / f"{name}.jpg")
    assert {kind for _, kind, _ in found(look_over(root))} == {"blank image"}


def test_folder_is_checked_like_any_set(tmp_path: Path) -> None:
    make_folder(tmp_path, {"train/a": 2, "train/b": 2, "test/a": 1})
    (tmp_path / "train" / "b" / "notes.txt").touch()
    shutil.copy(tmp_path / "train" / "a" / "000.jpg", tmp_path / "test" / "a" / "again.jpg")
    report = look_over(tmp_path, "folder")
    assert found(report) == {
        ("warning", "stray files", "train/b"),
        ("warning", "copy in train and test", "test/a/again.jpg"),
    }
    assert [(row.name, row.train, row.test) for row in report.classes] == [("a", 2, 2), ("b", 2, 0)]


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no images"):
        look_over(tmp_path, "folder")


@pytest.mark.slow
def test_real_photographs_are_fit_to_train_on(real_data: Path) -> None:
    report = check_data(Data(), data_home=real_data)
    assert report.errors == ()
    assert (report.images("train"), report.images("test"), report.head_boxes) == (3680, 1837, 3671)
    kinds = [problem.kind for problem in report.problems]
    assert kinds.count("no head box") == 3680 - 3671
    # Near copies on both sides of the official split: at 64 × 64 they differ by less than one grey level.
    alike = {problem.place for problem in report.problems if problem.kind == "alike in train and test"}
    assert {"japanese_chin_137", "keeshond_141", "leonberger_189"} <= alike


def test_near_duplicates_are_found_within_the_training_part_and_under_two_labels(tmp_path: Path) -> None:
    make_folder(tmp_path, {"train/a": 3, "train/b": 3, "test/a": 2, "test/b": 2})
    for source, copy in (
        ("train/a/000.jpg", "train/a/small.png"),
        ("train/b/000.jpg", "test/b/small.png"),
        ("train/a/001.jpg", "train/b/small.png"),
        ("test/a/000.jpg", "test/a/small.png"),
    ):
        with Image.open(tmp_path / source) as image:
            image.resize((80, 60)).save(tmp_path / copy)
    alike = {(kind, place) for _, kind, place in found(look_over(tmp_path, "folder")) if "alike" in kind}
    assert alike == {
        ("alike in train", "train/a/000.jpg"),
        ("alike in train and test", "test/b/small.png"),
        ("alike, two labels", "train/a/001.jpg"),
        ("alike in test", "test/a/000.jpg"),
    }


def test_many_images_of_one_look_are_told_once_each(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a": 1, "b": 2})
    with Image.open(tmp_path / "a" / "000.jpg") as image:
        for number in range(30):
            image.resize((80 + number, 60)).save(tmp_path / "a" / f"copy{number}.png")
    problems = [p for p in look_over(tmp_path, "folder").problems if "alike" in p.kind]
    assert 1 <= len(problems) <= 3 * 31  # each once a kind
    assert max(len(problem.what) for problem in problems) < 200


def test_blank_images_are_named_with_their_colour(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a": 3, "b": 3})
    Image.new("RGB", (40, 30)).save(tmp_path / "a" / "black.jpg")
    Image.new("L", (50, 30), 200).save(tmp_path / "b" / "grey.png")
    blank = {p.place: p.what for p in look_over(tmp_path, "folder").problems if p.kind == "blank image"}
    assert blank == {"a/black.jpg": "every pixel is #000000, black", "b/grey.png": "every pixel is #c8c8c8"}
