"""A run's points on its axes: steps and epochs count within a stage, an axis through the whole run."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from workbench.runs.following import Places, StageMark
from workbench.runs.history import ELAPSED, EPOCHS_A_STAGE, PLACE, STEP, History

_Floats = NDArray[np.float64]


@dataclass(slots=True)
class StageAxes:
    """Where a history's stages begin on the three axes, and its points lie; batch_size 0: not known."""

    history: History
    batch_size: int
    keys: list[int] = field(default_factory=list)
    _first_step: dict[int, float] = field(default_factory=dict)
    _first_epoch: dict[int, float] = field(default_factory=dict)
    _steps: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tables = [self.history.steps.rows, self.history.train.rows, self.history.val.rows]
        held = {
            key for rows in tables for key in np.unique(rows[:, PLACE] // EPOCHS_A_STAGE).astype(int).tolist()
        }
        self.keys = sorted(held | self.history.stages.keys())
        step = epoch = 0.0
        for key in self.keys:
            self._first_step[key], self._first_epoch[key] = step, epoch
            own = [rows[slice(*_range(rows, key))] for rows in tables]
            last_epoch = max(
                (float(rows[-1, PLACE] % EPOCHS_A_STAGE) for rows in own if len(rows)), default=0.0
            )
            steps, validated = own[0], own[2]
            self._steps[key] = self._estimate(
                key, steps, bool(len(validated)) and validated[-1, PLACE] % EPOCHS_A_STAGE > 0
            )
            step += max((float(rows[-1, STEP]) for rows in own if len(rows)), default=0.0)
            epoch += last_epoch

    def _estimate(self, key: int, steps: _Floats, epoch_done: bool) -> float:
        """Steps an epoch: the most that an epoch is seen to have; in the first one what the sizes say."""
        if not len(steps):
            return 0.0
        seen = float((steps[:, STEP] / np.maximum(1.0, steps[:, PLACE] % EPOCHS_A_STAGE)).max())
        stage = self.history.stages.get(key)
        if epoch_done or stage is None or not self.batch_size:
            return seen
        return max(seen, (stage.event.labelled + stage.event.pseudo_labelled) // self.batch_size)

    def steps_an_epoch(self, key: int) -> float:
        """0 where no step is known."""
        return self._steps[key]

    def of(self, columns: _Floats) -> NDArray[np.int64]:
        """The stage of each point."""
        return np.asarray(columns[PLACE] // EPOCHS_A_STAGE, dtype=np.int64)

    def places(self, columns: _Floats, *, between: bool) -> Places:
        """Where points lie; `between` epochs as steps do, or at their ends."""
        owners, inverse = np.unique(self.of(columns), return_inverse=True)
        keys = owners.tolist()
        first_step = np.array([self._first_step[key] for key in keys])
        first_epoch = np.array([self._first_epoch[key] for key in keys])
        epoch = columns[PLACE] % EPOCHS_A_STAGE
        if between and len(keys):
            steps = np.array([max(1.0, self._steps[key]) for key in keys])[inverse]
            epoch = np.clip(columns[STEP] / steps, epoch - 1, epoch)
        if not len(keys):
            return Places(columns[STEP], epoch, columns[ELAPSED])
        return Places(columns[STEP] + first_step[inverse], epoch + first_epoch[inverse], columns[ELAPSED])

    def marks(self) -> tuple[StageMark, ...]:
        """The stages that have begun, in order."""
        seen = self.history.stages
        return tuple(
            StageMark(seen[key].event, self._first_step[key], self._first_epoch[key], seen[key].elapsed)
            for key in self.keys
            if key in seen
        )


def _range(rows: _Floats, key: int) -> tuple[int, int]:
    start, end = np.searchsorted(rows[:, PLACE], [key * EPOCHS_A_STAGE, (key + 1) * EPOCHS_A_STAGE])
    return int(start), int(end)
