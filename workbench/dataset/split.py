"""The split: which image trains with its label, which without, which validates, which tests."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from workbench.support.fingerprint import fingerprint


@dataclass(frozen=True)
class Split:
    """A division of a catalogue: four disjoint (K,) int64 arrays of ascending positions.

    Labels of `unlabelled` are hidden from training; they score pseudo-labels and nothing else.
    """

    labelled: NDArray[np.int64]
    unlabelled: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]

    @cached_property
    def fingerprint(self) -> str:
        """Equal for equal divisions, whatever made them."""
        parts = (self.labelled, self.unlabelled, self.validation, self.test)
        return fingerprint([part.tolist() for part in parts])
