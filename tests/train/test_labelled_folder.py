"""A folder that a person has begun to label trains, with all that nobody has labelled as its pool."""

from __future__ import annotations

from pathlib import Path

from tests.dataset.pictures import jpeg
from tests.train.making import HEAD, train
from workbench.labels.journal import NAME
from workbench.labels.strokes import Assign, CannotTell, Undo, Unusable, make_stroke
from workbench.recipe import parse_recipe

IMAGES = 40
POOL = """
[pseudo_label]
strategy = "iterative"
labelled_fraction = 1.0
rounds = 2
epochs_per_round = 2
fraction = 0.4
"""


def test_a_run_on_a_journal_of_labels_trains_on_what_was_said_and_on_the_pool(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    names = [f"{number:02d}.jpg" for number in range(IMAGES)]
    for number, name in enumerate(names):
        (photos / name).write_bytes(jpeg(number))
    for stroke in (
        Assign(names[:10], "cat"),
        Assign(names[10:20], "dog"),
        Assign(names[20:24], "dog"),
        Undo(),
        CannotTell(names[24:26]),
        Unusable(names[26:27]),
    ):
        make_stroke(photos / NAME, stroke, "ann")
    changes = ["data.dataset=table", f"data.root={photos}", "data.validation_fraction=0.25"]
    trained = train(parse_recipe(HEAD + POOL, overrides=changes), tmp_path)
    results = trained.results
    assert results.classes == ("cat", "dog")
    assert (results.labelled, results.unlabelled) == (12, IMAGES - 20 - 1)
    assert results.student_test is not None
    assert any(text.startswith("20 of 20 labels were picked") for text in results.warnings)
