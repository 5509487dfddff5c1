"""What the stages of a run are called, in its plan and in its records."""

from __future__ import annotations

from typing import Literal

StageName = Literal["probe", "fit", "teacher", "student"]
"""`probe` (head first), `fit` (supervised), `teacher`, `student`."""


def stage_words(stage: str, round: int) -> str:
    """`teacher`, `student r2`: a stage for people."""
    return f"{stage} r{round}" if round else stage
