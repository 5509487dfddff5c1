"""Verdicts on a run's images: in a review, or as labels in the journal that the run learned from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.runs.making import make_run
from workbench.dataset.review import Correction, Verdict, review_path
from workbench.dataset.verdict_file import LabelledFolder, ReviewFile, verdict_file
from workbench.labels.journal import Row, append, read
from workbench.labels.strokes import Assign, make_stroke
from workbench.recipe import load_recipe
from workbench.support.errors import UserError

MADE = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> LabelledFolder:
    """A journal with one label from before the run."""
    path = tmp_path / "labels.csv"
    append(path, [Row("a.jpg", "pug", "ann", MADE - timedelta(hours=1))])
    return LabelledFolder(path, "r1", MADE, "ann")


def test_verdicts_on_a_labelled_folder_are_labels_and_read_back_as_verdicts(folder: LabelledFolder) -> None:
    folder.write([Correction("b.jpg", Verdict.ACCEPT, "pug")], {"b.jpg": 0.75})
    folder.write(
        [Correction("c.jpg", Verdict.RELABEL, "Pug"), Correction("d.jpg", Verdict.RELABEL, "cat")], {}
    )
    folder.write([Correction("e.jpg", Verdict.EXCLUDE, "")], {})
    journal = read(folder.path)
    assert journal.labels == {"a.jpg": "pug", "b.jpg": "pug", "c.jpg": "pug", "d.jpg": "cat"}
    assert (journal.current["b.jpg"].by, journal.current["b.jpg"].confidence) == ("model:ann", 0.75)
    assert journal.unusable == ["e.jpg"]
    told = {one.id: (one.verdict, one.label) for one in folder.read().corrections}
    assert told == {
        "b.jpg": (Verdict.ACCEPT, "pug"),
        "c.jpg": (Verdict.RELABEL, "pug"),
        "d.jpg": (Verdict.RELABEL, "cat"),
        "e.jpg": (Verdict.EXCLUDE, ""),
    }


def test_taking_back_ends_where_the_run_began(folder: LabelledFolder) -> None:
    folder.write([Correction("b.jpg", Verdict.RELABEL, "cat")], {})
    make_stroke(folder.path, Assign(["c.jpg"], "cat"), "bob")
    taken = folder.take_back()
    assert taken is not None
    assert (taken.id, taken.label) == ("b.jpg", "cat")
    assert read(folder.path).labels == {"a.jpg": "pug", "c.jpg": "cat"}
    assert folder.take_back() is None
    assert read(folder.path).labels == {"a.jpg": "pug", "c.jpg": "cat"}


def test_a_class_that_cannot_be_called_so_leaves_the_file_as_it_was(folder: LabelledFolder) -> None:
    before = folder.path.read_bytes()
    with pytest.raises(UserError, match="no class can be called"):
        folder.write([Correction("b.jpg", Verdict.RELABEL, "?")], {})
    assert folder.path.read_bytes() == before


def test_only_a_run_on_a_journal_of_labels_has_its_verdicts_there(tmp_path: Path) -> None:
    home, photos = tmp_path / "runs", tmp_path / "photos"
    home.mkdir()
    photos.mkdir()
    append(photos / "labels.csv", [Row("a.jpg", "pug", "ann"), Row("b.jpg", "cat", "ann")])
    (photos / "other.csv").write_text("path,label\na.jpg,pug\n")
    for root, kind in ((photos / "labels.csv", LabelledFolder), (photos / "other.csv", ReviewFile)):
        run = make_run(home, root.stem, data={"dataset": "table", "root": str(root)})
        recipe = load_recipe(run.recipe)
        found = verdict_file(home, recipe, run=run.id, slug=run.slug, since=run.created)
        assert isinstance(found, kind)
        assert found.path == (root if kind is LabelledFolder else review_path(home, recipe.name))
