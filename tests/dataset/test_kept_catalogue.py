"""Kept catalogues: whatever happened to the files, one equals a fresh look; what is damaged is made anew."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.dataset.pictures import jpeg, make_folder, open_folder
from workbench.dataset import contents, kept_catalogue, listing, open_catalogue, probe
from workbench.dataset.catalogue import Catalogue
from workbench.dataset.contents import Content
from workbench.dataset.probe import Header
from workbench.recipe import Data
from workbench.support.progress import QUIET

COUNTS = {"ash": 4, "elm": 4, "oak/deep": 3}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Class folders whose files seem to have been written long ago."""
    monkeypatch.setattr(contents, "SETTLED_NS", -(10**18))
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "cache"))
    return make_folder(tmp_path / "in", COUNTS)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A line whenever a folder is listed for a catalogue."""
    seen: list[str] = []
    listed = kept_catalogue.kept_or_read

    def noted(sources: object, named: object, read: Callable[[], Catalogue]) -> Catalogue:
        def reading() -> Catalogue:
            seen.append("read")
            return read()

        return listed(sources, named, reading)  # type: ignore[arg-type]

    monkeypatch.setattr("workbench.dataset.run_data.kept_or_read", noted)
    return seen


def _known(root: Path, **knobs: object) -> Catalogue:
    catalogue = open_folder(root, **knobs)
    catalogue.know_contents(QUIET)
    return catalogue


def _facts(catalogue: Catalogue) -> list[object]:
    """All that there is to a catalogue."""
    told = [catalogue.breeds, catalogue.left_out, catalogue.passed_over, catalogue.understood]
    prints = [catalogue.fingerprint, catalogue.pixels, catalogue.pictures, catalogue.fingerprint_by_name]
    return [*told, *prints, list(catalogue.records), list(catalogue.contents), catalogue.boxes_fingerprint]


def _fresh(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """As with an empty cache."""
    with monkeypatch.context() as patch:
        patch.setenv("PETBENCH_CACHE", str(tmp_path / f"cache-{random.getrandbits(60)}"))
        return _facts(_known(root))


def test_a_second_start_lists_nothing_and_finds_the_same(folder: Path, looks: list[str]) -> None:
    (folder / "ash" / "notes.txt").write_text("stray")
    (folder / "ash" / "broken.jpg").write_bytes(b"no picture")
    first = _facts(_known(folder))
    assert _facts(_known(folder)) == first
    assert looks == ["read"]
    assert _facts(_known(folder, test_fraction=0.5)) != first  # divided otherwise
    assert looks == ["read", "read"]


def _add(root: Path, draws: random.Random) -> None:
    (root / "elm" / f"new{draws.getrandbits(30)}.jpg").write_bytes(jpeg(draws.getrandbits(20)))


def _remove(root: Path, draws: random.Random) -> None:
    files = sorted((root / "ash").glob("*.jpg"))
    if len(files) > 2:
        draws.choice(files).unlink()


def _rename(root: Path, draws: random.Random) -> None:
    path = _any(root, draws)
    path.rename(path.with_name(f"other{draws.getrandbits(30)}.jpg"))


def _move(root: Path, draws: random.Random) -> None:
    path = draws.choice(sorted((root / "elm").glob("*.jpg")))
    if len(list((root / "elm").glob("*.jpg"))) > 2:
        path.rename(root / "ash" / f"moved{draws.getrandbits(30)}.jpg")


def _overwrite(root: Path, draws: random.Random) -> None:
    _any(root, draws).write_bytes(jpeg(draws.getrandbits(20), 44, 30))


def _same_length_and_time(root: Path, draws: random.Random) -> None:
    path = _any(root, draws)
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-20] ^= 0xFF
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _touch(root: Path, draws: random.Random) -> None:
    _any(root, draws).touch()


def _link(root: Path, draws: random.Random) -> None:
    path = _any(root, draws)
    target = root.parent / f"linked{draws.getrandbits(30)}.jpg"
    target.write_bytes(jpeg(draws.getrandbits(20)))
    path.unlink()
    path.symlink_to(target)


def _behind_a_link(root: Path, draws: random.Random) -> None:
    links = [path for path in sorted(root.rglob("*.jpg")) if path.is_symlink()]
    for link in links[:1]:
        link.resolve().write_bytes(jpeg(draws.getrandbits(20)))


def _break(root: Path, draws: random.Random) -> None:
    (root / "elm" / f"broken{draws.getrandbits(30)}.jpg").write_bytes(b"no picture")


def _heal(root: Path, draws: random.Random) -> None:
    for path in sorted(root.rglob("broken*.jpg"))[:1]:
        path.write_bytes(jpeg(draws.getrandbits(20)))


def _new_class(root: Path, draws: random.Random) -> None:
    make_folder(root, {f"class{draws.getrandbits(30)}": 2})


def _stray(root: Path, draws: random.Random) -> None:
    (root / "oak" / "deep" / f"{draws.getrandbits(30)}.txt").write_text("stray")


def _folder_times_put_back(root: Path, draws: random.Random) -> None:
    before = (root / "elm").stat()
    _add(root, draws)
    os.utime(root / "elm", ns=(before.st_atime_ns, before.st_mtime_ns))


def _any(root: Path, draws: random.Random) -> Path:
    return draws.choice([path for path in sorted(root.rglob("*.jpg")) if "broken" not in path.name])


CHANGES = [
    *(_add, _remove, _rename, _move, _overwrite, _same_length_and_time, _touch, _link, _behind_a_link),
    *(_break, _heal, _new_class, _stray, _folder_times_put_back),
]


@pytest.mark.parametrize("seed", range(4))
def test_a_kept_catalogue_equals_a_fresh_look_after_any_changes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    draws = random.Random(seed)
    steps = [*CHANGES, *draws.choices(CHANGES, k=6)]
    draws.shuffle(steps)
    _known(folder)
    for step in steps:
        step(folder, draws)
        fresh = _fresh(folder, tmp_path, monkeypatch)
        assert _facts(open_folder(folder)) == fresh, step.__name__
        assert _facts(_known(folder)) == fresh, step.__name__


def test_of_one_file_that_changed_the_others_are_not_opened_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _known(folder)
    (folder / "ash" / "000.jpg").write_bytes(jpeg(77))
    opened: list[str] = []
    read, look = contents.content_of, probe.read_header

    def content_of(path: Path) -> Content:
        opened.append(f"content of {path.name}")
        return read(path)

    def read_header(path: Path) -> Header:
        opened.append(f"header of {path.name}")
        return look(path)

    monkeypatch.setattr(contents, "content_of", content_of)
    monkeypatch.setattr(listing, "read_header", read_header)
    _known(folder)
    assert opened == ["header of 000.jpg", "content of 000.jpg"]


def test_what_changed_a_moment_ago_is_not_kept(
    folder: Path, looks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "SETTLED_NS", 2 * 10**9)
    old = (2 * 10**9, 2 * 10**9)
    for path in folder.rglob("*"):
        os.utime(path, ns=old)  # the time of change cannot be set back
    _known(folder)
    _known(folder)
    assert looks == ["read", "read"]


def test_a_damaged_or_foreign_file_is_said_and_made_anew(
    folder: Path, tmp_path: Path, looks: list[str]
) -> None:
    first = _facts(_known(folder))
    (kept,) = (tmp_path / "cache" / "catalogues").rglob("*.sealed")
    whole = kept.read_bytes()
    other = make_folder(tmp_path / "other", {"ash": 2, "elm": 2})
    _known(other)
    foreign = next(p for p in (tmp_path / "cache" / "catalogues").rglob("*.sealed") if p != kept)
    for wrong in (b"", whole[:-1], b"x" + whole, foreign.read_bytes()):
        looks.clear()
        kept.write_bytes(wrong)
        catalogue = _known(folder)
        assert "damaged" in next(catalogue.unused())
        assert _facts(catalogue) == first
        assert kept.read_bytes() == whole
        assert looks == ["read"]
    assert not list(_known(folder).unused())


def test_what_is_made_of_a_catalogue_is_never_kept_in_its_place(folder: Path, looks: list[str]) -> None:
    catalogue = open_folder(folder)
    few = replace(catalogue, records=catalogue.records[:2])
    few.know_contents(QUIET)
    assert len(_known(folder)) == 11
    assert len(open_folder(folder)) == 11
    assert looks == ["read", "read"]


def test_nothing_is_kept_where_folders_may_not_tell_of_new_names(
    folder: Path, looks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_catalogue, "file_system_of", lambda path: "fuse.s3fs")
    first = _facts(_known(folder))
    assert _facts(_known(folder)) == first
    assert looks == ["read", "read"]


def test_this_machine_knows_its_file_systems(tmp_path: Path) -> None:
    assert kept_catalogue.file_system_of(Path("/proc")) == "proc"
    assert kept_catalogue.file_system_of(tmp_path)


def test_another_table_is_another_catalogue(folder: Path, looks: list[str]) -> None:
    table = folder / "labels.csv"
    rows = ["path,label", *(f"{name}/{i:03d}.jpg,{name}" for name in ("ash", "elm") for i in range(4))]
    table.write_text("\n".join(rows))
    data = Data.model_validate({"dataset": "table", "root": str(table)})
    first = open_catalogue(data, data_home=folder)
    first.know_contents(QUIET)
    assert _facts(open_catalogue(data, data_home=folder)) == _facts(first)
    assert looks == ["read"]
    table.write_text("\n".join(rows).replace("000.jpg,ash", "000.jpg,elm"))
    second = open_catalogue(data, data_home=folder)
    assert looks == ["read", "read"]
    assert second.labels("breed").tolist() == [1, 0, 0, 0, 1, 1, 1, 1]
