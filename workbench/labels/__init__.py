"""Labelling by hand: the journal of labels, what a labeller does to it, and how app and engine talk.

`journal` is the truth, a `labels.csv` that only grows; `strokes` has what one key does; `protocol` the
messages between the screen and the process that proposes images. No torch, no screen.
"""

from workbench.labels.journal import Journal, Row, append, is_journal, journal_of, read

__all__ = ["Journal", "Row", "append", "is_journal", "journal_of", "read"]
