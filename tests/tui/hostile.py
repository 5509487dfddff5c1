"""A run whose every piece of text tries to drive the terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.runs.making import epoch, finish, make_results, make_run
from workbench.runs.events import ConfusionSeen, Message, RoundLabelled, StageStarted
from workbench.runs.layout import RunDirectory
from workbench.runs.ledger import PseudoLabel, write_ledger
from workbench.runs.metrics import MetricsWriter
from workbench.runs.notes import change_notes
from workbench.runs.predictions import save_predictions

TITLE = "\x1b]0;pwned\x07"
COPY = "\x1b]52;c;cHduZWQ=\x07"
COLOUR = "\x1b[31mEVIL\x1b[0m"
C1 = "\x9b31mEVIL"
BIDI = "\u202eEVIL\u2066"
MARKUP = "a[/b].jpg"
LINK = "[@click=app.quit]EVIL[/]"
ALL = " ".join((TITLE, COPY, COLOUR, C1, BIDI, MARKUP, LINK))

FORBIDDEN = tuple(text.encode() for text in (TITLE, COPY, COLOUR, C1, "\u202e", "\u2066", "\x9b"))
"""Bytes that must never reach the terminal."""


def make_hostile_run(home: Path, *, age_seconds: int = 0) -> RunDirectory:
    """A finished pseudo-label run in three classes with poison in name, tags, notes, classes, ids, log."""
    run = make_run(
        home,
        f"evil {ALL}"[:60],
        age_seconds=age_seconds,
        description=ALL,
        tags=[f"t {COLOUR}", MARKUP],
        pseudo_label={"strategy": "iterative", "labelled_fraction": 0.1},
    )
    change_notes(run, add=[f"n {COPY}"], note=f"note {ALL}")
    classes = (f"Bengal {COLOUR}", f"pug {BIDI}", MARKUP)
    with MetricsWriter(run.metrics) as metrics:
        metrics.event(StageStarted("teacher", 0, 2, 10, 0, features=True))
        for number in (1, 2):
            metrics.event(epoch(number, 0.4 + 0.1 * number, stage="teacher"))
            metrics.event(ConfusionSeen("teacher", 0, number, [[5, 1, 0], [1, 3, 0], [0, 0, 2]]))
        metrics.event(Message("warning", f"beware {ALL}"))
        metrics.event(RoundLabelled(1, 3, 2, 0.5, 0.5, 1, 0.7, [1, 1, 0], [0] * 10 + [1, 1, 1] + [0] * 7))
        metrics.event(StageStarted("student", 1, 2, 10, 2, features=True))
        metrics.event(epoch(1, 0.7, stage="student", round=1))
    ids = [f"{COLOUR}/one{BIDI}.jpg", MARKUP, f"x{C1}{COPY}"]
    probabilities = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.2, 0.6]], dtype=np.float32)
    for name in ("test", "val", "teacher-test", "teacher-val", "unlabelled-01"):
        save_predictions(run.predictions(name), ids, probabilities, np.array([0, 1, 2]))
    write_ledger(
        run.ledger(1),
        [
            PseudoLabel(id_, classes[n], 0.6, 0.3, 0.9, True, 1.0, False, classes[0])
            for n, id_ in enumerate(ids)
        ],
    )
    run.log.write_text(f"2026-11-22 12:00:00 {ALL}\n\x1bc{COLOUR}\n{BIDI}\n", encoding="utf-8")
    results = replace(
        make_results(teacher_accuracy=0.75), classes=classes, best_round=1, warnings=(f"warning {ALL}",)
    )
    return finish(run, results)
