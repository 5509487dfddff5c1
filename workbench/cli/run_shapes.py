"""What `--json` prints of runs: listed, started, asked to stop, compared, swept, queued."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from workbench.runs.calibration import Reliability
from workbench.runs.comparison import SeedTest
from workbench.runs.ensemble import Ensemble, Tried
from workbench.runs.events import RanksSeen, RoundLabelled
from workbench.runs.paired import NotPaired, PairedTest
from workbench.runs.profile import Profile
from workbench.runs.results import Confusion, LabelsUsed, Results
from workbench.runs.seed_groups import Spread

Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$")]


Share = Annotated[float, Field(ge=0, le=1)]


class Progress(TypedDict):
    stage: str
    round: int
    rounds: int
    epoch: int
    epochs: int


class SlurmTicket(TypedDict):
    job: str
    open: bool
    """Whether Slurm may still start it."""
    held: bool
    requeued: int
    awaited: str
    """Why it has not begun, in Slurm's word; empty where that is not known."""


class Run(TypedDict):
    """A run; its recipe and its metrics by dotted keys."""

    id: str
    path: str
    name: str
    status: str
    created: Time
    ended: Time | None
    reason: str
    tags: list[str]
    note: str
    archived: bool
    queue_position: int | None
    slurm: SlurmTicket | None
    progress: Progress | None
    metrics: dict[str, float]
    recipe: dict[str, Any]
    problem: str


class RunPage(Run):
    """A run in full; `results` is null until it has finished."""

    results: Results | None
    most_confused: list[Confusion]
    rounds: list[RoundLabelled]
    ranks: RanksSeen | None
    """What each of several processes did in the last epoch; null where one trained it alone."""
    warnings: list[str]
    provenance: dict[str, Any]
    profile: Profile | None
    ensemble: Ensemble | None
    """Of an ensemble of runs: its members, and how they were chosen."""
    reliability: Reliability | None
    """How far the final model's confidence can be believed; null as `results`, or without its predictions."""
    member_labels: list[LabelsUsed | None]
    """Of each of its members, in their order."""


class EnsembleMember(TypedDict):
    id: str
    weights_sha256: str
    temperature: float
    val_accuracy: Share
    val_loss: float


class MadeEnsemble(TypedDict):
    run: RunPage | None
    """Null with --dry-run, and where one run alone validates best."""
    by: Literal["all", "val"]
    calibrated: bool
    members: list[EnsembleMember]
    tried: list[Tried]


class Runs(TypedDict):
    runs: list[Run]


class Trash(Runs):
    deleted: int
    """Runs that --empty deleted for good."""


class Leftover(TypedDict):
    path: str
    kind: str
    bytes: int
    why: str
    stayed: str


class Tidied(TypedDict):
    removed: bool
    """Whether anything was to go; false for --dry-run."""
    bytes: int
    leftovers: list[Leftover]


class RunLines(TypedDict):
    run: str
    lines: list[str]


class LaunchedRun(TypedDict):
    id: str
    path: str
    queue_position: int
    slurm_job: str | None


class Launched(TypedDict):
    runs: list[LaunchedRun]


class AskedRun(TypedDict):
    id: str
    path: str
    status: str
    promise: str


class Asked(TypedDict):
    runs: list[AskedRun]


class ComparedRun(TypedDict):
    id: str
    name: str
    status: str
    seed: str


class NumberRow(TypedDict):
    values: list[float | None]
    deltas: list[float | None]


class SpreadRow(TypedDict):
    spreads: list[Spread | None]
    deltas: list[float | None]


class ConfusionChange(TypedDict):
    run: str
    true: str
    predicted: str
    baseline: int
    count: int
    delta: int


class ComparedGroup(TypedDict):
    name: str
    runs: list[str]
    counted: list[str]
    seeds: list[str]


class ComparedGroups(TypedDict):
    groups: list[ComparedGroup]
    baseline: int
    recipe: dict[str, list[Any]]
    metrics: dict[str, SpreadRow]
    left_out: list[str]
    tests: list[SeedTest | NotPaired | None]


class CurvePoints(TypedDict):
    run: str
    x: list[float]
    y: list[float | None]


class Curve(TypedDict):
    metric: str
    axis: str
    runs: list[CurvePoints]


class Comparison(TypedDict):
    """Lists follow the order of `runs`."""

    runs: list[ComparedRun]
    baseline: str
    warnings: list[str]
    recipe: dict[str, list[Any]]
    metrics: dict[str, NumberRow]
    intervals: dict[str, list[tuple[float, float] | None]]
    """Of each accuracy, 95 %."""
    paired: list[PairedTest | NotPaired | None]
    recall: dict[str, NumberRow]
    confusion: list[ConfusionChange]
    groups: NotRequired[ComparedGroups]
    curve: NotRequired[Curve]


class LeftOutRun(TypedDict):
    id: str
    reason: str


RunGroup = TypedDict(
    "RunGroup",
    {
        "name": str,
        "by": dict[str, Any],
        "runs": list[str],
        "counted": list[str],
        "left_out": list[LeftOutRun],
        "seeds": list[str],
        "val.accuracy": Spread | None,
        "test.accuracy": Spread | None,
        "teacher.test.accuracy": Spread | None,
    },
)


class Groups(TypedDict):
    groups: list[RunGroup]


class Device(TypedDict):
    name: str
    label: str
    run: str | None


class Waiting(TypedDict):
    position: int
    id: str
    path: str
    device: str
    devices: int
    """How many it waits for at once."""
    since: Time


class SlurmRun(TypedDict):
    id: str
    path: str
    status: str
    job: str
    """Empty while it is being submitted."""
    state: str
    """In Slurm's letters; empty where Slurm has not said."""
    reason: str
    partition: str
    nodes: str
    requeued: int


class SlurmQueue(TypedDict):
    problem: str
    """Why Slurm has not answered; empty where it has, or was not asked."""
    runs: list[SlurmRun]


class Queue(TypedDict):
    devices: list[Device]
    waiting: list[Waiting]
    slurm: SlurmQueue


class PointRun(TypedDict):
    repeat: str
    id: str | None
    status: str
    val_accuracy: Share | None
    test_accuracy: Share | None


class Point(TypedDict):
    point: str
    settings: dict[str, Any]
    best: bool
    pruned: bool
    val: Spread | None
    test: Spread | None
    runs: list[PointRun]


class Sweep(TypedDict):
    name: str
    points: list[Point]


class RangeTest(TypedDict):
    recipe: str
    fingerprint: str
    optimizer: str
    batch_size: int
    suggestion: float
    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    steepest: float
    least_tenth: float
    diverged: bool
    on_features: bool
    file: str


RUN_SHAPES: dict[str, Any] = {
    "run": RunPage,
    "launch": Launched,
    "stop": Asked,
    "queue": Queue,
    "sweep": Sweep,
    "lr-find": RangeTest,
    "runs": Runs,
    "runs-show": RunPage,
    "runs-compare": Comparison,
    "runs-group": Groups,
    "runs-log": RunLines,
    "runs-trash": Trash,
    "runs-tidy": Tidied,
    "ensemble": MadeEnsemble,
}
