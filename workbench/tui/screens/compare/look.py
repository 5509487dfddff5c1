"""How the comparison is looked at: what the session keeps of the screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from workbench.runs.curves import CURVE_METRICS, CurveMetric
from workbench.runs.following import AXES, Axis

SMOOTHINGS = (0.0, 0.6, 0.9)


class Tab(StrEnum):
    """The four ways to compare."""

    CURVES = "curves"
    RECIPE = "recipe"
    RESULTS = "results"
    CONFUSION = "confusion"


@dataclass(frozen=True, slots=True)
class Look:
    """Choices that a person made; runs by their ids, empty for none in particular."""

    tab: Tab = Tab.CURVES
    baseline: str = ""
    chosen: str = ""
    """The run under the cursor, on every tab."""
    metric: str = "val.accuracy"
    axis: Axis = "epoch"
    smoothing: float = 0.0
    log: bool = False
    spotlight: bool = False
    """Whether only the chosen run's curve and the baseline's are clear."""
    seeds: bool = False
    """Whether runs that differ only in seeds stand as one."""
    all_keys: bool = False
    """Whether the recipes' equal keys are shown too."""

    @property
    def curve(self) -> CurveMetric:
        """The number that the curves show."""
        return CURVE_METRICS[self.metric]

    def pack(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def unpack_look(values: Mapping[str, Any]) -> Look:
    """What `pack` packed; whatever is not as it should be is left at its default."""
    plain = Look()
    tab, metric, axis = values.get("tab"), values.get("metric"), values.get("axis")
    smoothing = values.get("smoothing")
    return Look(
        tab=Tab(tab) if tab in list(Tab) else plain.tab,
        baseline=_text(values.get("baseline")),
        chosen=_text(values.get("chosen")),
        metric=metric if isinstance(metric, str) and metric in CURVE_METRICS else plain.metric,
        axis=next((known for known in AXES if known == axis), plain.axis),
        smoothing=smoothing if isinstance(smoothing, float) and smoothing in SMOOTHINGS else 0.0,
        log=values.get("log") is True,
        spotlight=values.get("spotlight") is True,
        seeds=values.get("seeds") is True,
        all_keys=values.get("all_keys") is True,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
