"""Pictures sorted into folders: names that are safe, nothing written over, nothing twice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.dataset.class_folders import ClassFolders, folder_names
from workbench.support.errors import UserError


@given(st.lists(st.text(max_size=300), unique=True, max_size=20))
def test_every_class_has_a_folder_of_its_own_on_any_system(classes: list[str]) -> None:
    names = folder_names(classes)
    assert list(names) == classes
    assert len({name.casefold() for name in names.values()}) == len(classes)
    for name in names.values():
        assert name
        assert not set(name) & set('/\\:*?"<>|')
        assert name.isprintable() or not name.isascii()
        assert not name.startswith((".", " "))
        assert not name.endswith((".", " "))
        assert len(os.fsencode(name)) < 255
        assert name.split(".")[0].casefold() not in {"con", "nul", "com1"}


def test_folder_names_say_which_class_it_is() -> None:
    assert folder_names(["Maine_Coon", "../up", "a/b", "con", "", "größe"]) == {
        "Maine_Coon": "Maine_Coon",
        "../up": "__up",
        "a/b": "a_b",
        "con": "_con",
        "": "_",
        "größe": "größe",
    }


@pytest.mark.parametrize("copies", [False, True])
def test_pictures_of_one_name_are_kept_apart_and_laid_once(tmp_path: Path, copies: bool) -> None:
    sources = [tmp_path / "from" / str(number) / "IMG 1.jpg" for number in range(3)]
    for number, source in enumerate(sources):
        source.parent.mkdir(parents=True)
        source.write_bytes(b"picture %d" % number)
    folders = ClassFolders(tmp_path / "out", folder_names(["cat/s", "unsure"]), copies)
    first = [folders.place(source, "cat/s") for source in sources]
    again = ClassFolders(tmp_path / "out", folder_names(["cat/s", "unsure"]), copies)
    assert [again.place(source, "cat/s") for source in reversed(sources)] == first[::-1]
    assert sorted((tmp_path / "out").rglob("*.jpg")) == sorted(first)
    assert len(list((tmp_path / "out" / "cat_s").iterdir())) == 3
    assert first[0].name == "IMG 1.jpg"
    for number, target in enumerate(first):
        assert target.read_bytes() == b"picture %d" % number
        assert target.suffix == ".jpg"
        assert target.is_symlink() != copies


@pytest.mark.parametrize("copies", [False, True])
def test_what_is_there_already_stays(tmp_path: Path, copies: bool) -> None:
    source = tmp_path / "a.jpg"
    source.write_bytes(b"mine")
    theirs = tmp_path / "out" / "cats" / "a.jpg"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    nowhere = theirs.with_name("b.jpg")
    nowhere.symlink_to(tmp_path / "gone.jpg")
    other = tmp_path / "b.jpg"
    other.write_bytes(b"mine, too")
    folders = ClassFolders(tmp_path / "out", folder_names(["cats"]), copies)
    assert folders.place(source, "cats").read_bytes() == b"mine"
    assert folders.place(other, "cats").read_bytes() == b"mine, too"
    assert theirs.read_bytes() == b"theirs"
    assert nowhere.readlink() == tmp_path / "gone.jpg"
    assert not (tmp_path / "gone.jpg").exists()


def test_a_copy_that_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    source = tmp_path / "a.jpg"
    source.write_bytes(b"whole")
    folders = ClassFolders(tmp_path / "out", folder_names(["cats"]), True)
    with pytest.MonkeyPatch.context() as patch:

        def half(_: Path, target: Path) -> None:
            target.write_bytes(b"wh")
            raise KeyboardInterrupt

        patch.setattr("workbench.dataset.class_folders.shutil.copy2", half)
        with pytest.raises(KeyboardInterrupt):
            folders.place(source, "cats")
    target = folders.place(source, "cats")
    assert target.read_bytes() == b"whole"
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_that_takes_nothing_says_so(tmp_path: Path) -> None:
    source = tmp_path / "a.jpg"
    source.write_bytes(b"picture")
    (tmp_path / "out").write_bytes(b"a file")
    folders = ClassFolders(tmp_path / "out", folder_names(["cats"]), False)
    with pytest.raises(UserError, match="cannot be sorted"):
        folders.place(source, "cats")
