"""Tables of images as people have them, and every wrong form: each read or refused in one clear message."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.dataset.pictures import jpeg
from workbench.dataset import Catalogue, make_split, open_catalogue
from workbench.dataset.check import check_data
from workbench.dataset.run_data import divide, list_images
from workbench.dataset.split import label_folds, without_fold
from workbench.dataset.table import drawing_order
from workbench.dataset.table_file import MOST_ROWS
from workbench.labels.strokes import Assign, CannotTell, Clear, Stroke, Undo, Unusable, make_stroke
from workbench.recipe import Data, Recipe, parse_recipe
from workbench.support.errors import UserError


def images(root: Path, *names: str) -> None:
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg(seed))


def numbered(root: Path, count: int) -> list[str]:
    """So many images, whose names from the root on are returned."""
    names = [f"i/{number:03d}.jpg" for number in range(count)]
    images(root, *names)
    return names


def data(root: Path, **knobs: object) -> Data:
    return Data.model_validate({"dataset": "table", "root": str(root), **knobs})


def opened(root: Path, **knobs: object) -> Catalogue:
    return open_catalogue(data(root, **knobs), data_home=root)


def refused(root: Path, **knobs: object) -> str:
    """The one error that both reading for a run and the check end with."""
    with pytest.raises(UserError) as caught:
        opened(root, **knobs)
    with pytest.raises(UserError) as checked:
        check_data(data(root, **knobs), data_home=root)
    assert str(checked.value) == str(caught.value)
    return str(caught.value)


def classes(catalogue: Catalogue) -> dict[str, str | None]:
    names = (*catalogue.breeds, None)
    return {record.id: names[record.breed] for record in catalogue.records}


def parts(catalogue: Catalogue) -> dict[str, int]:
    return dict(Counter(record.part for record in catalogue.records))


WANTED = {"a.jpg": "cat", "b.jpg": "cat", "c.jpg": "dog", "d.jpg": "dog", "e.jpg": None}
ROWS = [(name, label or "") for name, label in WANTED.items()]


def _csv(root: Path) -> str:
    (root / "t.csv").write_text("path,label\n" + "".join(f"{n},{c}\n" for n, c in ROWS))
    return "t.csv"


def _semicolons_of_a_spreadsheet(root: Path) -> str:
    text = "Image;Class\r\n" + "".join(f'"{n}";{c}\r\n' for n, c in ROWS) + "\r\n;\r\n"
    (root / "t.csv").write_bytes(text.encode("utf-8-sig"))
    return "t.csv"


def _tsv(root: Path) -> str:
    (root / "t.tsv").write_text("id\tfile_name\tcategory\n" + "".join(f"1\t./{n}\t {c}\n" for n, c in ROWS))
    return "t.tsv"


def _utf_16(root: Path) -> str:
    (root / "t.csv").write_bytes(("path\tlabel\n" + "".join(f"{n}\t{c}\n" for n, c in ROWS)).encode("utf-16"))
    return "t.csv"


def _json_lines(root: Path) -> str:
    rows = [{"file": n, "more": [1], **({"label": c} if c else {})} for n, c in ROWS]
    (root / "t.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return "t.jsonl"


def _hugging_face_csv(root: Path) -> str:
    (root / "metadata.csv").write_text("file_name,label\n" + "".join(f"{n},{c}\n" for n, c in ROWS))
    (root / "other.csv").write_text("x\n1\n")
    return "."


def _hugging_face_lines(root: Path) -> str:
    rows = [{"file_name": n, "label": c or None} for n, c in ROWS]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return "."


def _parquet(root: Path) -> str:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"path": [n for n, _ in ROWS], "label": [c or None for _, c in ROWS]}
    parquet.write_table(pyarrow.table(columns), root / "t.parquet")
    return "t.parquet"


def _windows(root: Path) -> str:
    rows = "".join(f"..\\{root.name}\\{n},{c}\n" for n, c in ROWS)
    (root / "t.csv").write_text("path,label\n" + rows)
    return "t.csv"


def _absolute(root: Path) -> str:
    (root / "t.csv").write_text("path,label\n" + "".join(f"{root / n},{c}\n" for n, c in ROWS))
    return "t.csv"


FORMS: list[Callable[[Path], str]] = [
    _csv,
    _semicolons_of_a_spreadsheet,
    _tsv,
    _utf_16,
    _json_lines,
    _hugging_face_csv,
    _hugging_face_lines,
    _parquet,
    _windows,
    _absolute,
]


@pytest.mark.parametrize("write", FORMS)
def test_tables_of_every_form_say_the_same(write: Callable[[Path], str], tmp_path: Path) -> None:
    images(tmp_path, *WANTED)
    catalogue = opened(tmp_path / write(tmp_path), test_fraction=0.5)
    assert classes(catalogue) == WANTED
    assert parts(catalogue) == {"train": 2, "test": 2, "unlabelled": 1}
    assert "classes from" in catalogue.understood[0]


def test_paths_count_from_the_table_and_ids_from_what_holds_all_images(tmp_path: Path) -> None:
    images(tmp_path, "x/a.jpg", "x/b.jpg", "y/c.jpg", "y/d.jpg")
    (tmp_path / "tables").mkdir()
    table = tmp_path / "tables" / "t.csv"
    table.write_text("path,label\n../x/a.jpg,1\n../x/b.jpg,1\n../y/c.jpg,2\n../y/d.jpg,2\n")
    assert [*classes(opened(table))] == ["x/a.jpg", "x/b.jpg", "y/c.jpg", "y/d.jpg"]


def test_a_pattern_makes_paths_of_names_alone(tmp_path: Path) -> None:
    images(tmp_path, "train/a.jpg", "train/b.jpg", "train/c.jpg", "train/d.jpg")
    (tmp_path / "labels.csv").write_text("id,breed\na,pug\nb,pug\nc,boxer\nd,boxer\n")
    message = refused(tmp_path, path_column="id")
    assert "4 of 4 files in id are not there: a (line 2)" in message
    assert "data.path_pattern makes them of what the table has: images/{}.jpg" in message
    catalogue = opened(tmp_path, path_column="id", path_pattern="train/{}.jpg")
    assert catalogue.breeds == ("boxer", "pug")


def test_columns_are_named_where_their_names_are_unusual(tmp_path: Path) -> None:
    images(tmp_path, *WANTED)
    (tmp_path / "t.csv").write_text("foto,art\n" + "".join(f"{n},{c}\n" for n, c in ROWS))
    message = refused(tmp_path / "t.csv")
    assert "no column is called as one of the image files mostly is; there are foto, art" in message
    assert 'data.path_column = "…" names it' in message
    assert classes(opened(tmp_path / "t.csv", path_column="foto", label_column="Art")) == WANTED


def test_parts_come_from_the_split_column_and_from_folders_with_a_table_each(tmp_path: Path) -> None:
    names = numbered(tmp_path / "one", 8)
    said = ["train", "train", "Training", "", "valid", "validation", "test", "unlabelled"]
    rows = [f"{n},{'ab'[i % 2]},{s}" for i, (n, s) in enumerate(zip(names, said, strict=True))]
    (tmp_path / "one" / "t.csv").write_text("path,label,split\n" + "\n".join(rows))
    assert "2 rows are for validation, such as t.csv, line 6" in refused(tmp_path / "one")
    own = {"train": 4, "validation": 2, "test": 1, "unlabelled": 1}
    assert parts(opened(tmp_path / "one", validation="own")) == own
    assert parts(opened(tmp_path / "one", validation="train")) == {"train": 6, "test": 1, "unlabelled": 1}
    for part, count in (("train", 4), ("test", 2)):
        table = "".join(
            f"{n},{'ab'[i % 2]}\n" for i, n in enumerate(numbered(tmp_path / "two" / part, count))
        )
        (tmp_path / "two" / part / "metadata.csv").write_text("file_name,label\n" + table)
    assert parts(opened(tmp_path / "two")) == {"train": 4, "test": 2}


def test_test_rows_without_a_class_are_left_for_predict(tmp_path: Path) -> None:
    names = numbered(tmp_path, 10)
    rows = "".join(
        f"{n},{'ab'[i % 2] if i < 7 else ''},{'train' if i < 7 else 'test'}\n" for i, n in enumerate(names)
    )
    (tmp_path / "t.csv").write_text("path,label,split\n" + rows)
    catalogue = opened(tmp_path)
    assert parts(catalogue) == {"train": 5, "test": 2}, "a test part is held out of the labelled rows"
    assert "3 test images have no class: they are left for petbench predict" in catalogue.understood


def test_no_group_is_cut_by_test_validation_folds_or_label_folds(tmp_path: Path) -> None:
    names = numbered(tmp_path, 60)
    # Patients of one to five images of a class each, and a pool of which some belong to them.
    rows, patient, left = [], 0, 0
    for index, name in enumerate(names):
        if not left:
            patient, left = patient + 1, 1 + patient % 5
        left -= 1
        rows.append(f"{name},{'ab'[patient % 2] if index % 10 else ''},{patient}")
    (tmp_path / "t.csv").write_text("path,label,patient\n" + "\n".join(rows))
    for knobs in ({}, {"folds": 3, "fold": 1}, {"stratified_validation": False}, {"label_folds": 3}):
        catalogue = opened(tmp_path, **knobs)
        labels = parse_recipe('name = "x"\n[pseudo_label]\nlabelled_fraction = 0.5').pseudo_label
        split = make_split(catalogue, data(tmp_path, **knobs), labels)
        training = {*split.labelled.tolist(), *split.unlabelled.tolist()}
        groups = catalogue.groups
        assert groups is not None
        sides = [training, set(split.validation.tolist()), set(split.test.tolist())]
        for here, there in ((0, 1), (0, 2), (1, 2)):
            shared = {groups[p] for p in sides[here]} & {groups[p] for p in sides[there]}
            assert not shared, (knobs, here, there)
        assert len(split.test) >= 6
        assert ("label_folds" in knobs) == (not len(split.validation))
        if "label_folds" in knobs:
            taught = catalogue.labels("breed")[split.labelled]
            folds = label_folds(catalogue, split.labelled, taught, data(tmp_path, **knobs))
            for fold in range(3):
                held = split.labelled[folds == fold]
                within = without_fold(catalogue, split, held)
                stays = {*within.labelled.tolist(), *within.unlabelled.tolist()}
                assert not {groups[p] for p in held} & {groups[p] for p in stays}, "nor by what a fold learns"
                assert {groups[p] for p in training - stays} == {groups[p] for p in held}


def test_a_group_that_the_split_column_cuts_is_refused(tmp_path: Path) -> None:
    names = numbered(tmp_path, 6)
    parts_ = ["train", "train", "train", "train", "test", "test"]
    rows = "".join(
        f"{n},{'ab'[i % 2]},{s},p{i % 4}\n" for i, (n, s) in enumerate(zip(names, parts_, strict=True))
    )
    (tmp_path / "t.csv").write_text("path,label,split,patient_id\n" + rows)
    message = refused(tmp_path)
    assert "the group 'p0' is cut in two: t.csv, line 2 is for train, t.csv, line 6 for test" in message
    assert parts(opened(tmp_path, group_column="")) == {"train": 4, "test": 2}


def test_folds_of_labels_are_refused_where_a_class_has_one_group(tmp_path: Path) -> None:
    names = numbered(tmp_path, 12)
    rows = "".join(f"{n},{'ab'[i % 2]},{'p' if i % 2 else i}\n" for i, n in enumerate(names))
    (tmp_path / "t.csv").write_text("path,label,group\n" + rows)
    recipe = Recipe(name="x").model_copy(update={"data": data(tmp_path, label_folds=2)})
    with pytest.raises(UserError, match="b has labelled images of one group"):
        divide(recipe, opened(tmp_path, label_folds=2))


def test_folds_of_labels_are_refused_where_one_of_them_judges_all_groups_of_the_pool(tmp_path: Path) -> None:
    rows = ["a,train,1", "a,train,2", "b,train,3", "b,train,4", "a,test,5", "b,test,6", ",,1", ",,1"]
    lines = [f"{name},{row}" for name, row in zip(numbered(tmp_path, 8), rows, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,split,patient", *lines]))
    recipe = parse_recipe('name = "x"\n[pseudo_label]\nstrategy = "one_shot"')
    recipe = recipe.model_copy(update={"data": data(tmp_path, label_folds=2)})
    with pytest.raises(UserError, match="all images of the pool belong to the groups of one fold"):
        divide(recipe, opened(tmp_path, label_folds=2))


def test_all_labels_there_are_may_be_used_with_a_pool_of_its_own(tmp_path: Path) -> None:
    names = numbered(tmp_path, 30)
    (tmp_path / "t.csv").write_text(
        "path,label\n" + "".join(f"{n},{'ab'[i % 2] if i < 20 else ''}\n" for i, n in enumerate(names))
    )
    base = f'name = "x"\n[data]\ndataset = "table"\nroot = "{tmp_path}"\n'
    for amount in ("", "labelled_fraction = 1.0\n"):
        recipe = parse_recipe(base + '[pseudo_label]\nstrategy = "one_shot"\n' + amount)
        split = divide(recipe, opened(tmp_path)).split
        assert (len(split.labelled), len(split.unlabelled)) == (13, 10)
    supervised = divide(parse_recipe(base), opened(tmp_path)).split
    assert (len(supervised.labelled), len(supervised.unlabelled)) == (13, 0)
    (tmp_path / "t.csv").write_text(
        "path,label\n" + "".join(f"{n},{'ab'[i % 2]}\n" for i, n in enumerate(names))
    )
    with pytest.raises(UserError, match="none is left to pseudo-label"):
        divide(parse_recipe(base + '[pseudo_label]\nstrategy = "one_shot"\n'), opened(tmp_path))


def test_whole_numbers_stay_whole_and_text_that_may_mean_no_class_is_told(tmp_path: Path) -> None:
    names = numbered(tmp_path, 6)
    labels = [1, 1.0, 2, 2.0, "NaN", None]
    rows = [json.dumps({"path": n, "label": c}) for n, c in zip(names, labels, strict=True)]
    (tmp_path / "t.jsonl").write_text("\n".join(rows))
    catalogue = opened(tmp_path)
    assert catalogue.breeds == ("1", "2", "NaN")
    assert catalogue.understood[1].startswith("'NaN' is a class, of 1 images: leave the field empty")


def test_an_image_that_changes_its_group_is_other_data(tmp_path: Path) -> None:
    names = numbered(tmp_path, 8)

    def written(group: str) -> str:
        rows = "".join(f"{n},{'ab'[i % 2]},{group}{i}\n" for i, n in enumerate(names))
        (tmp_path / "t.csv").write_text("path,label,group\n" + rows)
        return opened(tmp_path).fingerprint

    assert written("x") != written("y")


def _table(text: str, name: str = "t.csv") -> Callable[[Path], Path]:
    def write(root: Path) -> Path:
        images(root, *WANTED)
        (root / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return root / name

    return write


GOOD = "path,label\na.jpg,cat\nb.jpg,cat\nc.jpg,dog\n"
WRONG = {
    "missing files": (
        "path,label\na.jpg,cat\ngone.jpg,dog\nc.jpg,dog\nlost.jpg,cat\n",
        "2 of 4 files in path are not there: gone.jpg (line 3), lost.jpg (line 5)",
        "take their rows out of the table",
    ),
    "addresses": ("path,label\nhttps://x.org/a.jpg,cat\n", "1 of 1 files", "these are addresses: download"),
    "duplicate paths": (
        GOOD + "d.jpg,dog\n./b.jpg,cat\n",
        "t.csv, line 3: b.jpg is there twice, also in line 6\n",
        "leave each image one row",
    ),
    "duplicate with two classes": (
        GOOD + "a.jpg,cat\n./b.jpg,dog\n",
        "b.jpg is there twice, also in line 6: cat and dog (and 1 more rows so)",
        "shows two classes",
    ),
    "one class": ("path,label\na.jpg,cat\nb.jpg,cat\n", "only one class, cat; a classifier needs two", ""),
    "no label column": (
        "path,size\na.jpg,3\n",
        "the classes mostly is; there are path, size",
        "label_column",
    ),
    "two label columns": (
        "path,label,class\na.jpg,1,2\n",
        "two columns may hold the class: label and class",
        'data.label_column = "label" says which',
    ),
    "no labels": ("path,label\na.jpg,\nb.jpg,\n", "none of the 2 rows has a class", "fill in a few"),
    "a class an image": (
        "path,label\na.jpg,1\nb.jpg,2\nc.jpg,3\n",
        "each of the 3 labelled images has a class of its own, such as '1'",
        "data.label_column names",
    ),
    "one class under two names": (
        "path,label\na.jpg,Pug\nb.jpg,pug\nc.jpg,dog\nd.jpg,dog\n",
        "one class under two names, 'Pug' and 'pug'",
        "",
    ),
    "no header": ("a.jpg,cat\nb.jpg,dog\n", "the first line is a row, not the columns' names", "path,label"),
    "a part that is none": (
        "path,label,split\na.jpg,cat,train\nb.jpg,cat,fold3\n",
        "t.csv, line 3: split is 'fold3', which is no part",
        'data.split_column = "" leaves the column alone',
    ),
    "a part that is not clear": (
        "path,label,split\na.jpg,cat,holdout\n",
        "split is 'holdout': a part, but which?",
        "",
    ),
    "a class that only tests": (
        "path,label,split\na.jpg,cat,train\nb.jpg,cat,test\nc.jpg,dog,test\n",
        "classes without a training image: dog",
        "",
    ),
    "no path": ("path,label\n,cat\n", "t.csv, line 2: no path in path", ""),
    "more fields than columns": (
        "path,label\na.jpg,cat,brown\n",
        "line 2: 3 fields under 2 columns",
        "between double quotes",
    ),
    "a quote that does not end": ('path,label\n"a.jpg,cat\n', "line 2: not CSV: unexpected end of data", ""),
    "no rows": ("path,label\n", "a table without rows", ""),
    "empty": ("", "an empty table", "a first line of column names"),
}


@pytest.mark.parametrize("form", WRONG)
def test_a_wrong_table_is_refused_in_one_clear_message(form: str, tmp_path: Path) -> None:
    text, what, hint = WRONG[form]
    message = refused(_table(text)(tmp_path))
    assert what in message + "\n"
    assert hint in message


def test_a_column_that_is_not_there_names_the_closest(tmp_path: Path) -> None:
    message = refused(_table(GOOD)(tmp_path), label_column="lable")
    assert "data.label_column: t.csv has no column 'lable'" in message
    assert "did you mean label?" in message


LINES = {
    "no JSON": ('{"path": "a.jpg", "label": 1}\n{"path"\n', "line 2: not valid JSON"),
    "no object": ("[1, 2]\n", "line 1: not an object"),
    "several classes": ('{"path": "a.jpg", "label": ["cat", "dog"]}\n', "line 1: label is a list: one value"),
    "the images themselves": (
        '{"path": {"bytes": "…", "path": "a.jpg"}, "label": 1}\n',
        "path holds the image itself, not where it lies",
    ),
}


@pytest.mark.parametrize("form", LINES)
def test_wrong_json_lines_name_their_line(form: str, tmp_path: Path) -> None:
    text, what = LINES[form]
    assert what in refused(_table(text, "t.jsonl")(tmp_path))


def test_what_is_no_table_is_told_what_would_be(tmp_path: Path) -> None:
    assert "save it as CSV" in refused(_table("x", "t.xlsx")(tmp_path))
    assert "no such file" in refused(tmp_path / "gone.csv")
    (tmp_path / "folder").mkdir()
    assert "no table in this folder" in refused(tmp_path / "folder")
    for name in ("one.csv", "two.tsv"):
        (tmp_path / "folder" / name).write_text(GOOD)
    assert "2 tables: one.csv, two.tsv" in refused(tmp_path / "folder")
    (tmp_path / "latin.csv").write_bytes("path,label\na.jpg,Kätzchen\n".encode("latin-1"))
    assert "not UTF-8 text, near line" in refused(tmp_path / "latin.csv")


def test_parquet_without_its_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    message = refused(_table("PAR1", "t.parquet")(tmp_path))
    assert 'pip install "petbench[parquet]"' in message


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    assert "not Parquet" in refused(_table("PAR1 nothing else", "t.parquet")(tmp_path))


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_ten_million_rows_are_refused_before_they_are_read(name: str, tmp_path: Path) -> None:
    is_csv = name == "t.csv"
    line, head = ("a.jpg,cat\n", "path,label\n") if is_csv else ('{"path": "a.jpg", "label": 1}\n', "")
    with (tmp_path / name).open("w") as stream:
        stream.write(head)
        for _ in range(100):
            stream.write(line * 100_000)
    with pytest.raises(UserError) as caught:
        list_images(data(tmp_path / name))
    assert f"{MOST_ROWS:,}" in str(caught.value)
    assert "there twice" not in str(caught.value)


MANY = 300_000
WRONG_ALL_OVER = {
    "files that are not there": (
        lambda i: f"images/{i}.jpg,c{i % 9}\n",
        "1,000 of the first 1,000 files in path are not there: images/0.jpg (line 2)",
    ),
    "one image in every row": (
        lambda i: f"a.jpg,c{i % 9}\n",
        "a.jpg is there twice, also in line 3: c0 and c1 (and at least 999 more rows so)",
    ),
}


@pytest.mark.parametrize("form", WRONG_ALL_OVER)
def test_a_table_that_is_wrong_all_over_is_refused_after_a_thousand_rows(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, what = WRONG_ALL_OVER[form]
    images(tmp_path, "a.jpg")
    (tmp_path / "t.csv").write_text("path,label\n" + "".join(map(row, range(MANY))))
    looked_for: list[object] = []
    really = os.path.lexists

    def counted(path: str) -> bool:
        looked_for.append(path)
        return really(path)

    monkeypatch.setattr(os.path, "lexists", counted)
    assert what in refused(tmp_path / "t.csv")
    assert len(looked_for) < 2500  # listed twice


def test_paths_of_another_machine_are_found_by_the_files_names(tmp_path: Path) -> None:
    images(tmp_path, "photos/a.jpg", "photos/b.jpg", "photos/c.jpg", "photos/d.jpg")
    rows = "".join(f"C:\\Users\\me\\{name}.jpg,{label}\n" for name, label in zip("abcd", "xyxy", strict=True))
    (tmp_path / "t.csv").write_text("path,label\n" + rows)
    assert "images/{name}" in refused(tmp_path / "t.csv")
    found = list_images(data(tmp_path / "t.csv", path_pattern="photos/{name}"))
    assert [image.id for image in found.images] == [f"photos/{name}.jpg" for name in "abcd"]


def test_a_column_a_class_is_told_as_that(tmp_path: Path) -> None:
    text = "image,cat,dog\na.jpg,1,0\nb.jpg,0,1\nc.jpg,1,0\n"
    message = refused(_table(text)(tmp_path))
    assert "a column a class, with 0 or 1 in it: cat, dog" in message
    assert "make one column of them" in message


def labelled(root: Path, *strokes: Stroke) -> Path:
    for stroke in strokes:
        make_stroke(root / "labels.csv", stroke, "ann")
    return root


def test_a_journal_of_labels_is_read_by_what_was_said_last_and_the_rest_is_the_pool(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg", "b.jpg", "x/c.jpg", "d, e.jpg", "f.jpg", " g.jpg", "h.jpg", "i.jpg")
    labelled(
        tmp_path,
        Assign(["a.jpg", "b.jpg", "x/c.jpg"], "cat"),
        Assign(["d, e.jpg", " g.jpg"], "dog"),
        Assign(["b.jpg"], "dog"),
        CannotTell(["f.jpg"]),
        Unusable(["h.jpg", "x/c.jpg"]),
        Undo(),
        Unusable(["h.jpg"]),
        Clear(["b.jpg"]),
        Undo(),
    )
    wanted = {"a.jpg": "cat", "b.jpg": "dog", "x/c.jpg": "cat", "d, e.jpg": "dog", " g.jpg": "dog"}
    found = opened(tmp_path, test_fraction=0.4)
    assert classes(found) == {**wanted, "f.jpg": None, "i.jpg": None}
    assert parts(found)["unlabelled"] == 2
    assert found.understood == ("labels.csv: 5 images labelled by hand, 2 not yet, 1 not usable",)
    check_data(data(tmp_path), data_home=tmp_path)


def test_labels_that_were_not_drawn_at_random_are_a_caution(tmp_path: Path) -> None:
    names = numbered(tmp_path, 12)
    drawn = drawing_order(names)
    labelled(tmp_path, Assign(drawn[:2], "cat"), Assign(drawn[2:4], "dog"))
    assert opened(tmp_path).cautions == ()
    labelled(tmp_path, Assign(drawn[6:11], "dog"))
    (caution,) = opened(tmp_path).cautions
    assert caution.startswith("5 of 9 labels were picked")
    labelled(tmp_path, CannotTell(drawn[4:5]), Unusable(drawn[5:6]))  # looked at, whatever was said of them
    assert opened(tmp_path).cautions == ()


def test_a_labelled_image_that_is_gone_is_passed_over_with_a_word(tmp_path: Path) -> None:
    names = numbered(tmp_path, 6)
    labelled(tmp_path, Assign(names[:3], "cat"), Assign([*names[3:], "gone.jpg"], "dog"))
    found = opened(tmp_path)
    assert len(found) == 6
    assert "gone.jpg" in found.understood[1]


def test_a_journal_with_too_few_labels_says_how_to_go_on(tmp_path: Path) -> None:
    names = numbered(tmp_path, 6)
    for stroke in (Assign(names[:1], "cat"), Undo()):
        labelled(tmp_path, stroke)
        assert f"petbench label {tmp_path} goes on labelling" in refused(tmp_path)


def test_a_journal_whose_columns_a_recipe_names_is_a_table_as_any_other(tmp_path: Path) -> None:
    names = numbered(tmp_path, 4)
    labelled(tmp_path, Assign(names[:2], "cat"), Assign(names[2:], "dog"), Assign(names[:1], "dog"))
    assert "twice" in refused(tmp_path, label_column="class")
