"""Every online strategy against the same network trained the same way on the labels alone: one table.

    python -m benchmarks.online [--data-dir DIR] [--cache DIR] [--recipe FILE] [--seeds 0 1 2]
        [--strategies fixmatch …] [--set key=value …] [--out FILE.json]

What is run is `petbench run`'s own stages on recipes/lite_fixmatch.toml with other [pseudo_label] strategies,
seeds of run and split alike. All strategies of a seed share its probe and teacher, and what the frozen groups
make of all views. `labels alone` takes the same steps from the same teacher with `unlabelled_weight = 0`.
Prints accuracy in percent: the student's on validation (by which to choose) and on test, mean ± standard
deviation over the seeds, its difference from `labels alone` seed by seed, and how often the teacher was kept
because the student did not beat it on validation.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from workbench.recipe import Recipe, load_recipe
from workbench.recipe.online import Online
from workbench.recipe.plan import Stage, plan
from workbench.recipe.pseudo_label import strategies_of
from workbench.runs.events import Event, Message, Reporter
from workbench.support.paths import cache_home, data_home
from workbench.support.units import signed
from workbench.train.interrupt import StopRequest
from workbench.train.loop import StageRun, Surroundings
from workbench.train.network import Network
from workbench.train.precision import Precision
from workbench.train.run import paced, samples_of
from workbench.train.setup import Places, Setup, prepare
from workbench.train.state import Best, RunState

RECIPE = Path(__file__).parent.parent / "recipes" / "lite_fixmatch.toml"
ALONE = "labels alone"
"""The control."""
KNOBS: dict[str, dict[str, Any]] = {
    ALONE: {"strategy": "fixmatch", "unlabelled_weight": 0.0},
    **{name: {"strategy": name} for name in strategies_of(Online)},
}
SHARED = ("labels_per_class", "labelled_fraction", "epochs_per_round", "unlabelled_ratio", "views")
"""Of the recipe's [pseudo_label]; `threshold` too where a strategy has one."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a strategy came to under one seed."""

    strategy: str
    seed: int
    validation: float
    test: float
    teacher_validation: float
    teacher_test: float
    used: float | None
    """Mean weight of the pool's pseudo-labels in the last epoch, and how right they were."""
    right: float | None
    seconds: float

    @property
    def kept_teacher(self) -> bool:
        """Whether a run would end with the teacher."""
        return self.validation < self.teacher_validation


class Told(Reporter):
    """Prints warnings and stages."""

    def event(self, event: Event) -> None:
        """Print a message."""
        if isinstance(event, Message):
            print(f"  {event.text}", flush=True)

    def progress(self, task: str, done: int, total: int) -> None:
        """Not shown."""


def main() -> None:
    """Run what was asked for, and print it."""
    options = _options()
    torch.set_num_threads(1)
    places = Places(data_home(options.data_dir), options.cache or cache_home(), torch.device("cpu"))
    done: list[Done] = []
    for seed in options.seeds:
        for one in of_seed(options.recipe, options.set, seed, places, options.strategies):
            done.append(one)
            print(one, flush=True)
            if options.out is not None:
                options.out.write_text(json.dumps([asdict(each) for each in done], indent=1))
    for line in table(done):
        print(line)


def of_seed(
    file: Path, changes: Sequence[str], seed: int, places: Places, strategies: Sequence[str]
) -> Iterable[Done]:
    """The strategies under one seed."""
    seeds = (f"seed={seed}", f"data.split_seed={seed}", "training.checkpoint_seconds=86400.0")
    recipe = load_recipe(file, [*changes, *seeds, 'training.precision="fp32"'])
    setup = prepare(recipe, places, Told())
    first = Network(setup, Precision("fp32", "fp32", "the benchmark's own"), Told())
    taught = RunState(precision=first.precision)
    before = [stage for stage in plan(recipe) if not stage.round]
    for stage in before:
        taught.teacher = _train(stage, first, taught)
    teacher = taught.teacher
    assert teacher is not None
    teacher_test = _test(first, teacher)
    for name in strategies:
        started = time.monotonic()
        own = _with_strategy(recipe, name)
        network = Network(replace(setup, recipe=own), first.precision, Told())
        network._kept_maps = first._kept_maps  # what never changes is looked at once
        state = RunState(precision=first.precision, teacher=teacher)
        network.load(teacher.weights)
        for stage in plan(own):
            if stage.round:
                best = _train(stage, network, state)
                if state.student is None or not state.student.better_than(best.accuracy, best.loss):
                    state.student = best
                if stage.name == "student":
                    used, right = state.progress.pool_share, state.progress.pool_accuracy
        assert state.student is not None
        yield Done(
            name,
            seed,
            state.student.accuracy,
            _test(network, state.student),
            teacher.accuracy,
            teacher_test,
            None if name == ALONE else used,
            None if name == ALONE else right,
            time.monotonic() - started,
        )


def _train(stage: Stage, network: Network, state: RunState) -> Best:
    """One stage, as a run trains it; the network is left with its best weights."""
    setup: Setup = network.setup
    if stage.fresh:
        network.reset()
    state.progress = type(state.progress)()
    samples, labelled = samples_of(setup, stage, state)
    around = Surroundings(Told(), StopRequest(), lambda: None, lambda _: None)
    stage = paced(stage, setup, state, len(samples))
    return StageRun(stage, network, samples, labelled, state, around, None).run()


def _test(network: Network, best: Best) -> float:
    setup = network.setup
    network.load(best.weights)
    positions = setup.split.test
    said = network.probabilities(positions, setup.classifier, task="test").argmax(axis=1)
    return float((said == setup.labels[positions]).mean())


def _with_strategy(recipe: Recipe, name: str) -> Recipe:
    """The recipe with another strategy, whose knobs are its own defaults but for what all share."""
    assert recipe.pseudo_label is not None
    own = KNOBS[name]
    knobs = strategies_of(Online)[own["strategy"]]
    shared = {
        key: getattr(recipe.pseudo_label, key)
        for key in (*SHARED, *(("threshold",) if "threshold" in knobs.model_fields else ()))
    }
    given = {key: value for key, value in shared.items() if value is not None}
    return recipe.model_copy(update={"pseudo_label": knobs.model_validate(given | own)})


def table(done: Sequence[Done]) -> list[str]:
    """A row a strategy, Markdown."""
    alone = {one.seed: one for one in done if one.strategy == ALONE}
    lines = [
        "| strategy | validation | test | against labels alone, by seed | teacher kept | pool used, right |",
        "|---|---|---|---|---|---|",
    ]
    teachers = {one.seed: one for one in done}.values()
    lines.append(
        f"| the teacher of all | {_mean(t.teacher_validation for t in teachers)} "
        f"| {_mean(t.teacher_test for t in teachers)} | | | |"
    )
    for name in dict.fromkeys(one.strategy for one in done):
        own = [one for one in done if one.strategy == name]
        differences = [
            signed(100 * (one.test - alone[one.seed].test), ".1f") for one in own if one.seed in alone
        ]
        kept = sum(one.kept_teacher for one in own)
        pool = [f"{100 * (one.used or 0):.0f}, {100 * (one.right or 0):.0f}" for one in own if one.used]
        lines.append(
            f"| {name} | {_mean(o.validation for o in own)} | {_mean(o.test for o in own)} "
            f"| {'' if name == ALONE else ' / '.join(differences)} | {kept} of {len(own)} "
            f"| {' / '.join(pool)} |"
        )
    return lines


def _mean(shares: Iterable[float]) -> str:
    values = [100 * share for share in shares]
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--strategies", nargs="+", default=list(KNOBS), choices=list(KNOBS))
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
