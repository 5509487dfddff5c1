from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dataset.pictures import jpeg, make_folder
from workbench.dataset import Catalogue, make_split, open_catalogue
from workbench.dataset.check import check_data
from workbench.dataset.folder_layout import role_of
from workbench.dataset.run_data import list_images
from workbench.recipe import Data
from workbench.support.class_key import class_key
from workbench.support.errors import UserError

TWO = {"a": 3, "b": 3}


def under(folder: str, counts: dict[str, int] | None = None) -> dict[str, int]:
    return {f"{folder}/{name}": count for name, count in (counts or TWO).items()}


def data(root: Path, **knobs: object) -> Data:
    return Data.model_validate({"dataset": "folder", "root": str(root), **knobs})


def opened(root: Path, **knobs: object) -> Catalogue:
    return open_catalogue(data(root, **knobs), data_home=root)


def refused(root: Path, **knobs: object) -> UserError:
    """The one error that both reading for a run and the check end with."""
    with pytest.raises(UserError) as caught:
        opened(root, **knobs)
    with pytest.raises(UserError) as checked:
        check_data(data(root, **knobs), data_home=root)
    assert str(checked.value) == str(caught.value)
    return caught.value


def parts(catalogue: Catalogue) -> dict[str, int]:
    return dict(Counter(record.part for record in catalogue.records))


SEPARATORS = st.sampled_from(["", "-", "_", " "])
RESERVED = [
    "train",
    "trainval",
    "labelled",
    "test",
    "valid",
    "val",
    "un-labeled",
    "pool",
    "dev",
    "hold-out",
    "eval",
]


@given(
    st.sampled_from(RESERVED),
    st.lists(st.booleans(), min_size=12, max_size=12),
    SEPARATORS,
    st.sampled_from(["", "set", "images", "Data", "2017"]),
)
def test_reserved_name_is_known_in_any_case_and_with_any_separator(
    word: str, upper: Sequence[bool], between: str, tail: str
) -> None:
    cased = "".join(letter.upper() if up else letter for letter, up in zip(word, upper, strict=False))
    wide = "".join(chr(ord(letter) + 0xFEE0) if letter.isalpha() else letter for letter in word)
    assert role_of(cased + between + tail) == role_of(word) is not None
    assert role_of(wide) == role_of(word)


@pytest.mark.parametrize(
    "name", ["cat", "contest", "trainer", "poodle", "testudo", "evaluator", "set", "1", "-"]
)
def test_other_names_are_classes(name: str) -> None:
    assert role_of(name) is None


@pytest.mark.parametrize(
    ("strange", "plain"),
    [
        ("\u0440ug", "pug"),
        ("C\u0430t", "cat"),
        ("\u0421\u0410\u0422", "cat"),
        ("\u0391\u03a1\u0395", "ape"),
        ("n\u0435\u0301e", "n\u00e9e"),
        ("\u0451", "\u00eb"),
    ],
)
def test_letters_of_other_scripts_that_look_latin_make_no_other_class(strange: str, plain: str) -> None:
    assert class_key(strange) == class_key(plain)


def test_a_part_in_look_alike_letters_is_a_part_and_two_such_classes_are_refused(
    tmp_path: Path,
) -> None:
    assert role_of("t\u0435st") == "test"
    assert role_of("tr\u0430in") == "train"
    make_folder(tmp_path, {"pug": 2, "\u0440ug": 2, "c": 2})
    error = refused(tmp_path)
    assert "one class under two names" in error.what
    assert "\\u0440ug" in error.what


@pytest.mark.parametrize(
    "alphabet",
    [
        "\u0430\u0431\u0432\u0433\u0434\u0435\u0436\u0437\u0438\u043a\u043b\u043c"
        "\u043d\u043e\u043f\u0440\u0441\u0442\u0443\u0444\u0445\u0456\u0458\u0455",
        "\u03b1\u03b2\u03b3\u03b4\u03b5\u03b6\u03b7\u03b8\u03b9\u03ba\u03bb\u03bc"
        "\u03bd\u03be\u03bf\u03c0\u03c1\u03c3\u03c4\u03c5\u03c6\u03c7\u03c8\u03c9",
    ],
)
def test_names_within_another_script_stay_different(alphabet: str) -> None:
    assert len({class_key(letter) for letter in alphabet}) == len(alphabet)
    assert all(class_key(letter) == class_key(letter.upper()) for letter in alphabet)


@given(st.text(max_size=12))
def test_equal_looking_names_have_one_key(name: str) -> None:
    key = class_key(name)
    assert (
        class_key(key) == key == class_key(f" {name.upper().lower()}\u200b ") or name.upper().lower() != name
    )
    assert class_key(unicodedata.normalize("NFD", name)) == key


@pytest.mark.parametrize("pool", ["unlabelled", "Unlabeled", "un-labelled", "unlabelled_images", "POOL"])
@pytest.mark.parametrize("beside", [TWO, under("labelled"), under("train") | under("test")])
def test_pool_beside_the_classes_is_one_and_counts_as_extra_where_the_recipe_names_it(
    tmp_path: Path, pool: str, beside: dict[str, int]
) -> None:
    make_folder(tmp_path, {**beside, pool: 4})
    found = opened(tmp_path)
    assert found.breeds == ("a", "b")
    assert parts(found)["unlabelled"] == 4
    assert f"{pool}/: 4 images without a class, the pool of [pseudo_label]" in found.understood
    found = opened(tmp_path, extra_unlabelled=str(tmp_path / pool))
    assert found.breeds == ("a", "b")
    assert parts(found)["extra_unlabelled"] == 4
    assert len(found) == 4 + sum(beside.values())
    assert check_data(data(tmp_path, extra_unlabelled=str(tmp_path / pool)), data_home=tmp_path).errors == ()


def test_labelled_pool_and_test_folders_are_never_classes(tmp_path: Path) -> None:
    make_folder(tmp_path, {**under("labelled"), "unlabelled": 4, **under("test")})
    found = opened(tmp_path)
    assert parts(found) == {"train": 6, "test": 6, "unlabelled": 4}
    assert found.breeds == ("a", "b")


@pytest.mark.parametrize("test", [{}, under("test")])
def test_validation_folder_is_refused_until_it_is_said_what_it_is_for(
    tmp_path: Path, test: dict[str, int]
) -> None:
    make_folder(tmp_path, {**under("train", {"a": 10, "b": 10}), **under("valid", {"a": 2, "b": 2}), **test})
    error = refused(tmp_path)
    assert 'data.validation = "own"' in error.allowed
    tested = 6 if test else 4
    own = opened(tmp_path, validation="own")
    assert parts(own) == {"train": 20 if test else 16, "test": tested, "validation": 4}
    split = make_split(own, data(tmp_path, validation="own"), None)
    assert [len(part) for part in (split.labelled, split.validation, split.test)] == [
        20 if test else 16,
        4,
        tested,
    ]
    assert {own.records[position].id.split("/")[0] for position in split.validation} == {"valid"}
    joined = parts(opened(tmp_path, validation="train"))
    assert joined == ({"train": 24, "test": 6} if test else {"train": 20, "test": 4})
    assert own.fingerprint != opened(tmp_path, validation="train").fingerprint


def test_own_validation_needs_a_folder_for_it(tmp_path: Path) -> None:
    make_folder(tmp_path / "plain", TWO)
    make_folder(tmp_path / "parts", {**under("train"), **under("test")})
    for folder in ("plain", "parts"):
        for wanted in ("own", "train"):
            assert "no val/" in refused(tmp_path / folder, validation=wanted).what


def test_training_part_alone_has_its_test_part_held_out(tmp_path: Path) -> None:
    found = opened(make_folder(tmp_path, under("train", {"a": 5, "b": 5})))
    assert (found.breeds, parts(found)) == (("a", "b"), {"train": 8, "test": 2})


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ({**under("train"), **under("valid"), "test": 3}, "valid/ beside train/: is it to validate"),
        ({"train": 3, **under("test")}, "train/ has 3 images, none in a class sub-folder"),
        ({**under("train"), "test/a": 0}, "test/ has no image in any class sub-folder"),
        (under("test"), "test/ without train/"),
        (under("val"), "val/ without train/"),
        ({**under("a/train"), **under("a/test")}, "only one class, a"),
        ({"a/train": 2, "a/test": 2, "b": 2, "b/train": 2}, "a/test/ is a part by its name"),
        ({"a/train": 2, "a/dev": 2, "b/train": 2}, "a/dev/ is a part by its name"),
        ({"a/test": 2, "b/test": 2}, "test/ without train/"),
        ({"a/train": 2, "a/val": 2, "b/train": 2}, "val/ beside train/: is it to validate"),
        ({"a": 2, "b/deep/Validation": 2}, "b/deep/Validation/ is a part by its name"),
        (
            {**under("train"), "train/unlabelled": 2, **under("test")},
            "train/unlabelled/ is a part by its name",
        ),
        ({**under("train"), **under("test"), "c": 1}, "c/ beside train/"),
        ({**under("train"), **under("Training"), **under("test")}, "more than one train part"),
        ({**under("train"), **under("test"), **under("Test")}, "more than one test part"),
        ({**TWO, "test/a": 1}, "test/ without train/"),
        ({**TWO, "hold-out": 1}, "a part by its name, but which?"),
        ({**TWO, "eval": 0}, "a part by its name, but which?"),
        ({"Pug": 2, "pug": 2}, "one class under two names, 'Pug' and 'pug'"),
        ({"caf\u00e9": 2, "cafe\u0301": 2}, r"'cafe\u0301'"),
        ({"pug": 2, "\uff50ug": 2}, r"'\uff50ug'"),
        ({"pug": 2, "pug ": 2}, "('pug ')"),
        ({"train/pug": 2, "train/cat": 2, "test/Pug": 2}, "one class under two names"),
        ({"all/a": 2, "all/b": 2}, "only one class, all"),
    ],
)
def test_folder_that_is_not_clear_is_refused(tmp_path: Path, folders: dict[str, int], message: str) -> None:
    make_folder(tmp_path, folders)
    error = refused(tmp_path)
    assert message in str(error)
    assert error.hint or error.allowed


def test_folder_of_folders_of_classes_is_pointed_into(tmp_path: Path) -> None:
    make_folder(tmp_path, {"all/a": 2, "all/b": 2})
    assert f"point data.root at {tmp_path / 'all'}" in refused(tmp_path).hint


@pytest.mark.parametrize(
    "link",
    [
        lambda root: (root / "loop").symlink_to(root),
        lambda root: (root / "again").symlink_to(root / "a"),
        lambda root: (root / "up").symlink_to(root.parent),
        lambda root: [(root / name).symlink_to(root.parent / "beside") for name in ("c", "d")],
    ],
)
def test_link_that_shows_images_twice_is_refused(tmp_path: Path, link: Callable[[Path], object]) -> None:
    make_folder(tmp_path, {"beside": 2})
    root = make_folder(tmp_path / "set", TWO)
    link(root)
    assert "which the data set reads already" in refused(root).what


def test_link_to_a_folder_elsewhere_is_a_class(tmp_path: Path) -> None:
    make_folder(tmp_path, {"beside": 2})
    root = make_folder(tmp_path / "set", TWO)
    (root / "c").symlink_to(tmp_path / "beside")
    assert opened(root).breeds == ("a", "b", "c")


def test_class_whose_images_are_all_of_a_kind_that_is_not_read_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path, {**TWO, "oak": 0})
    for number in range(3):
        (tmp_path / "oak" / f"{number}.CR2").write_bytes(b"raw")
    assert "none of the images of oak can be read: 3 .cr2 in oak" in refused(tmp_path).what


def test_class_whose_images_are_all_broken_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path, {**TWO, "oak": 0})
    for number in range(3):
        (tmp_path / "oak" / f"{number}.jpg").touch()
    with pytest.raises(UserError, match=r"none of the 3 images of oak can be read \(oak/0.jpg: empty file\)"):
        opened(tmp_path)


def test_what_is_passed_over_is_counted_by_kind_and_class(tmp_path: Path) -> None:
    make_folder(tmp_path, {**TWO, "docs": 0, "none": 0})
    (tmp_path / "readme.md").touch()
    (tmp_path / "docs" / "notes.txt").touch()
    for number in range(5):
        (tmp_path / "a" / f"{number}.NEF").touch()
    (tmp_path / "b" / "link").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "x.jpg").mkdir()
    (tmp_path / "a" / "x.jpg" / "in.png").write_bytes(jpeg())
    found = opened(tmp_path)
    assert len(found) == 7
    assert [line.split(":")[0] for line in found.passed_over] == [
        "5 .nef in a",
        "1 .md",
        "1 .txt in docs",
        "1 link to a folder in b",
        "docs/",
        "none/",
    ]
    kinds = {
        (problem.kind, problem.place) for problem in check_data(data(tmp_path), data_home=tmp_path).problems
    }
    assert {("stray files", "a"), ("folder without image", "none"), ("stray files", ".")} <= kinds


def test_folders_within_a_class_are_told(tmp_path: Path) -> None:
    make_folder(tmp_path, {"animals/cat": 2, "animals/dog": 2, "plants": 2})
    report = check_data(data(tmp_path), data_home=tmp_path)
    assert [(problem.kind, problem.place) for problem in report.problems] == [
        ("folders within a class", "animals")
    ]


def test_folder_that_cannot_be_listed_is_an_error_and_not_fewer_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(tmp_path, {**TWO, "a/deep": 2})
    real = os.scandir

    def scandir(path: str) -> object:
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(UserError, match="Permission denied") as caught:
        list_images(data(tmp_path))
    assert caught.value.where == str(tmp_path / "a" / "deep")


def test_same_stem_with_two_endings_is_two_images_and_hidden_folders_are_passed_over(tmp_path: Path) -> None:
    make_folder(tmp_path, {**TWO, "__MACOSX": 2, ".thumbnails": 2, "@eaDir": 2, "a/__MACOSX": 1})
    (tmp_path / "a" / "000.PNG").write_bytes(jpeg())
    found = opened(tmp_path)
    assert len(found) == 7
    assert found.passed_over == ()


def test_ten_thousand_classes_are_listed(tmp_path: Path) -> None:
    image = jpeg()
    for number in range(10_000):
        folder = tmp_path / f"class {number:05d}"
        folder.mkdir()
        (folder / "1.jpg").write_bytes(image)
    assert len(list_images(data(tmp_path)).classes) == 10_000
