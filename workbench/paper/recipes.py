"""The shipped recipes of the paper's experiments, for any backbone: its layer groups in the paper's place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.paper.numbers import FIGURES, Figure
from workbench.recipe import Recipe
from workbench.recipe.cookbook import shipped_folder, shipped_recipes
from workbench.recipe.layer_groups import GroupChoice, LayerGroups, choose_groups, kept_groups
from workbench.recipe.load import read_recipe_text
from workbench.recipe.source import Change, Unset, parse_override, read_source
from workbench.recipe.sweep import Sweep, SweepRun, load_sweep
from workbench.support.clean import clean, slug
from workbench.support.digests import fingerprint
from workbench.support.errors import UserError
from workbench.support.toml_text import toml_literal
from workbench.support.units import given_percent

PAPER_BACKBONE = "resnet152"
_FOLDER = "paper/"
_RESNET_GROUPS = frozenset({"layer1", "layer2", "layer3", "layer4", "head"})
"""What the paper's recipes name."""
_NORM_WORDS = {"finetune.batch_norm": "batch norms", "finetune.layer_norm": "layer norms"}
_ALL_LEARN = 'finetune.layers="all"'
_NAMED_APART = (("model", "backbone"), ("sweep", "seeds"), ("pseudo_label", "stratified"))
"""Keys that tables and files name anyway."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The sweep that draws a figure."""

    figure: Figure
    sweep: Sweep
    varied: str = ""
    """The key whose values are its lines; "" where its lines are strategies."""
    groups: LayerGroups | None = None
    """None where no layers are named."""
    note: str = ""
    """What stands in the place of the paper's layers, for people; "" for a ResNet."""

    @property
    def backbone(self) -> str:
        """The network's name."""
        return self.sweep.runs[0].recipe.model.backbone_words

    @property
    def title(self) -> str:
        """The figure's, in the words of this backbone's norms."""
        norms = _NORM_WORDS.get(self.varied)
        return self.figure.title if norms is None else self.figure.title.replace("batch norms", norms)

    def shown(self, runs: Sequence[SweepRun]) -> list[SweepRun]:
        """Those that the figure shows, of its sweep's and their finer search's."""
        share = self.figure.fraction
        return [run for run in runs if share is None or cell_of(run.recipe)[0] == share]

    def stem(self, changes: Sequence[str]) -> str:
        """A name for its files, another one for other settings."""
        return f"figure{self.figure.number}-{slug(self.backbone)}{settings_slug(changes)}"

    def label(self, run: SweepRun) -> str:
        """What a run's line is called, such as `5e-5` or `last 3: stage6 … conv_head`."""
        settings = dict(run.settings)
        value = settings.get(self.varied)
        if value is None or len(settings) > 1:
            return run.point or "the recipe"
        if isinstance(value, float):
            return f"{value:g}".replace("e-0", "e-")
        if isinstance(value, list) and self.groups is not None:
            return _groups_words(value, self.groups, self.varied)
        return {"tuned": "of the layers that learn", "frozen": "none"}.get(value, str(value))


def paper_recipes() -> dict[str, Path]:
    """Name -> file of the paper's experiments; `petbench sweep NAME` runs one."""
    return {name: file for name, file in shipped_recipes().items() if name.startswith(_FOLDER)}


def paper_sweep(name: str, changes: Sequence[Change]) -> Sweep:
    """The sweep of `recipes/paper/NAME.toml` under `--set` and `--unset` changes.

    Raises:
        UserError: a change does not fit.
    """
    return load_sweep(_file(name), changes)


def table1_sweep(
    changes: Sequence[Change] = (),
    *,
    backbone: str = PAPER_BACKBONE,
    seeds: int | None = None,
    labels: str = "random",
    beside: Sequence[str] = (),
    fractions: Sequence[float] = (),
) -> Sweep:
    """Table 1 for a backbone: a ResNet as the paper trained it, any other as a head on a frozen trunk.

    Args:
        changes: of the user, laid over what the other arguments say.
        seeds: None: the recipe's.
        labels: `random`, the paper's plain shuffle, or `stratified`.
        beside: strategies to put beside the paper's two, with the defaults of their knobs.
        fractions: these labelled shares alone.

    Raises:
        UserError: no such strategy, a change that does not fit, or that makes of the table another one.
    """
    meant: Change = f"model.backbone={toml_literal(backbone)}"
    is_resnet = _backbone("table1", [meant, *changes]).startswith("resnet")
    stratified = "true" if labels == "stratified" else "false"
    asked: list[Change] = [
        meant,
        *([] if seeds is None else [f"sweep.seeds={seeds}"]),
        f"pseudo_label.stratified={stratified}",
        *([f'sweep."pseudo_label.labelled_fraction"={toml_literal(list(fractions))}'] if fractions else []),
        *(f'sweep.cases.{name}.pseudo_label.strategy="{name}"' for name in beside),
        *(f"sweep.cases.{name}.pseudo_label.epochs_per_round={5 if is_resnet else 10}" for name in beside),
    ]
    sweep = paper_sweep("table1" if is_resnet else "head_table1", [*asked, *changes])
    _refuse_another_table(sweep)
    return sweep


def cell_of(recipe: Recipe) -> tuple[float, str]:
    """(labelled share, strategy) of a run of Table 1."""
    knobs = recipe.pseudo_label
    assert knobs is not None  # as `table1_sweep` has seen to
    assert knobs.labelled_fraction is not None
    return float(knobs.labelled_fraction), str(knobs.strategy)


def figure_plans(
    figures: Sequence[Figure],
    changes: Sequence[Change],
    look: Callable[[Recipe], LayerGroups],
    *,
    backbone: str = PAPER_BACKBONE,
    seeds: int | None = None,
) -> list[Plan]:
    """What draws the figures; figures 5 to 7 share one sweep.

    The paper's recipes name a ResNet's layers. Of any other network all layers learn in figures 1 and 2, and
    figures 2 and 3 vary its own groups: the last, the last two, three, four, six, …, all.

    Args:
        look: the layer groups of a recipe's network, where they are not known yet.

    Raises:
        UserError: a change does not fit, or the network has nothing that the figure varies.
    """
    fractions = [figure.fraction for figure in figures if figure.fraction is not None]
    shared: list[Sweep] = []
    if fractions:
        shared = [table1_sweep(changes, backbone=backbone, seeds=seeds, fractions=fractions)]
    said: list[Change] = [f"model.backbone={toml_literal(backbone)}"]
    said += [] if seeds is None else [f"sweep.seeds={seeds}"]
    plans = []
    for figure in figures:
        if figure.fraction is None:
            plans.append(_plan(figure, [*said, *changes], look))
            continue
        plan = Plan(figure, shared[0])
        if not plan.shown(plan.sweep.runs):
            raise UserError(
                f"figure {figure.number} is of {given_percent(figure.fraction)} % labels, but no run is",
                where="--only",
                hint="petbench sweep paper/table1 takes any share",
            )
        plans.append(plan)
    return plans


def told_changes(changes: Sequence[Change]) -> list[str]:
    """The changes that a table's head does not tell anyway, as words."""
    return [
        f"--set {clean(change, 200)}" if isinstance(change, str) else str(change)
        for change in changes
        if not isinstance(change, str) or parse_override(change)[0] not in _NAMED_APART
    ]


def settings_slug(changes: Sequence[str]) -> str:
    """What tells the files of changed recipes apart; empty where nothing is changed."""
    return f"-{slug(' '.join(changes))}-{fingerprint(list(changes))[:4]}" if changes else ""


def _plan(figure: Figure, changes: Sequence[Change], look: Callable[[Recipe], LayerGroups]) -> Plan:
    sweep = paper_sweep(figure.recipe, changes)
    backbones = {run.recipe.model.backbone for run in sweep.runs}
    if len(backbones) > 1:
        raise UserError(
            f"a figure is of one backbone, not of {len(backbones)}",
            where="sweep.model.backbone",
            hint="petbench paper figures --backbone NAME, once for each",
        )
    groups = kept_groups(sweep.runs[0].recipe, look)
    varied = _varied(figure, groups)
    translation = list(_translated(figure, sweep, groups, varied))
    if not translation:
        return Plan(figure, sweep, varied, groups)
    sweep = paper_sweep(figure.recipe, [*translation, *changes])
    again = _seen_before(sweep, groups, varied)
    if again and _axis(varied, _values(groups, varied)) in translation:
        values = [value for value in _values(groups, varied) if value not in again]
        sweep = paper_sweep(figure.recipe, [*translation, _axis(varied, values), *changes])
    note = f"{groups.backbone} has no layer1 to layer4 as a ResNet; its groups: {', '.join(groups.names)}"
    if _ALL_LEARN in translation:
        note += ". All of them learn, where the paper left out layer3"
    return Plan(figure, sweep, varied, groups, note)


def _varied(figure: Figure, groups: LayerGroups) -> str:
    match figure.recipe:
        case "learning_rates":
            return "optimizer.learning_rate"
        case "layers":
            return "finetune.layers"
    key, normed = _normed(groups)
    if not normed:
        others = ",".join(one.number for one in FIGURES if one != figure)
        raise UserError(
            f"{groups.backbone} has no norms, so figure {figure.number} has nothing to vary",
            where="--only",
            hint=f"leave it out: --only {others}",
        )
    return f"finetune.{key}"


def _normed(groups: LayerGroups) -> tuple[str, tuple[str, ...]]:
    """The key of a network's norms, and its groups that have some."""
    return ("batch_norm", groups.batch_normed) if groups.batch_normed else ("layer_norm", groups.layer_normed)


def _translated(figure: Figure, sweep: Sweep, groups: LayerGroups, varied: str) -> Iterator[Change]:
    """What to change of the file; nothing for a ResNet, or what the user's own changes have put right."""
    if set(groups.names) >= _RESNET_GROUPS:
        return
    points = [dict(run.settings) for run in sweep.runs]
    names = {name for run in sweep.runs for name in _names(run.recipe.finetune.layers)}
    if figure.recipe != "layers" and names - set(groups.names):
        yield _ALL_LEARN
    swept = "finetune.batch_norm" if varied == "finetune.layer_norm" else varied
    if swept != varied and any(swept in point for point in points):
        yield Unset(f'sweep."{swept}"')
        yield _axis(varied, _values(groups, varied))
    elif any(set(_names(point.get(varied))) - set(groups.names) for point in points):
        yield _axis(varied, _values(groups, varied))


def _names(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()


def _axis(key: str, values: Sequence[Any]) -> str:
    return f'sweep."{key}"={toml_literal(list(values))}'


def _values(groups: LayerGroups, varied: str) -> list[Any]:
    """The points of figure 2 or 3 for a network; those of figure 1 name no layers."""
    if varied == "optimizer.learning_rate":
        return []
    if varied == "finetune.layers":
        return [["head"], *([*last, "head"] for last in _last_ones(groups.names[:-1])), "all"]
    return ["frozen", "tuned", "all", *_last_ones(_normed(groups)[1])]


def _last_ones(names: Sequence[str]) -> Iterator[list[str]]:
    """The last, the last 2, 3, 4, 6, 8, 12, 16, … of the names, fewer than all, the last one first."""
    sizes = sorted({1, *(base << doubled for base in (2, 3) for doubled in range(len(names)))})
    return (list(reversed(names[-size:])) for size in sizes if size < len(names))


def _seen_before(sweep: Sweep, groups: LayerGroups, varied: str) -> list[Any]:
    """Values that train just what an earlier one does, such as the norms of all layers where all learn."""
    seen: dict[GroupChoice, Any] = {}
    again = []
    for run in sweep.runs:
        value = dict(run.settings).get(varied)
        if seen.setdefault(choose_groups(groups, run.recipe.finetune), value) != value:
            again.append(value)
    return again


def _groups_words(value: list[str], groups: LayerGroups, varied: str) -> str:
    """`last 2: stage7, conv_head` of the topmost groups; of others their names, the last one first."""
    own = groups.names if varied == "finetune.layers" else _normed(groups)[1]
    trunk = [name for name in own if name in value and name != "head"]
    if not trunk:
        return "head alone"
    if trunk != [name for name in own if name != "head"][-len(trunk) :]:
        return ", ".join(reversed(trunk))
    count = "last" if len(trunk) == 1 else f"last {len(trunk)}"
    return f"{count}: {trunk[0]} … {trunk[-1]}" if len(trunk) > 2 else f"{count}: {', '.join(trunk)}"


def _refuse_another_table(sweep: Sweep) -> None:
    """See that every run is in a cell of Table 1, and that a cell's runs are repeats of one point."""
    points: dict[tuple[float, str], str] = {}
    for run in sweep.runs:
        knobs = run.recipe.pseudo_label
        if knobs is None or knobs.labelled_fraction is None:
            raise UserError(
                "Table 1 is over labelled shares and strategies",
                where="pseudo_label.labelled_fraction",
                allowed="a share of the training images in every run",
                hint="petbench sweep paper/table1 takes any recipe",
            )
        point = points.setdefault(cell_of(run.recipe), run.point)
        if point != run.point:
            raise UserError(
                f"{clean(point, 80)} and {clean(run.point, 80)} are in one cell of the table, labelled share "
                "and strategy being equal",
                where="[sweep]",
                hint="petbench sweep paper/table1 shows any points beside each other",
            )


def _backbone(name: str, changes: Sequence[Change]) -> str:
    file = _file(name)
    source = read_source(read_recipe_text(file), clean(file), changes)
    model = source.values.get("model")
    return str(model.get("backbone", PAPER_BACKBONE)) if isinstance(model, dict) else PAPER_BACKBONE


def _file(name: str) -> Path:
    return shipped_folder() / f"{_FOLDER}{name}.toml"
