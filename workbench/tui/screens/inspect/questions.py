"""What Inspect asks on top of itself: source, order, class, cell, an image's label, training anew."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, assert_never

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from workbench.dataset.verdict_file import LabelledFolder
from workbench.recipe import Recipe, dump_recipe
from workbench.runs.doubt import Doubt
from workbench.runs.opinion_columns import Opinion
from workbench.runs.results import Confusion
from workbench.runs.sources import IssueSource, RoundSource, Source, SplitSource
from workbench.runs.ticket import read_ticket
from workbench.support.atomic import atomic_write
from workbench.support.clean import clean, slug
from workbench.support.errors import UserError
from workbench.support.paths import state_home
from workbench.tui.screens.dialogs import AskChoice
from workbench.tui.screens.inspect.captions import share
from workbench.tui.screens.inspect.material import Material
from workbench.tui.screens.inspect.review_queue import Query
from workbench.tui.screens.place import GuardedLoop
from workbench.tui.text import plain, plain_lines

if TYPE_CHECKING:
    from workbench.jobs import Launched

_ORDERS = {
    Doubt.CONFIDENCE: "confidence: how probable the first choice is",
    Doubt.MARGIN: "margin: how far the second choice is behind the first",
    Doubt.ENTROPY: "entropy: how far the probability is spread over all classes",
    Doubt.DISAGREEMENT: "disagreement: how far teacher and student are apart",
    Doubt.FLIPS: "flips: how often the pseudo-label changed over the rounds",
    Doubt.SELF_CONFIDENCE: "self-confidence: how probable the given label is out of fold",
    Doubt.LABEL_MARGIN: "label margin: how far another class is ahead of the given one",
}
ANY = ""
"""The answer that takes a filter off."""
LAUNCH, COMPOSE = "launch", "compose"


def ask_source(material: Material) -> AskChoice:
    """Which source; answered by its key. Label issues are offered before anybody looked for them."""
    choices = [(source.key, _source_words(source)) for source in material.sources]
    if material.run.results.exists() and IssueSource() not in material.sources:
        choices.append((IssueSource().key, "label issues: judge the labelled images now"))
    chosen = material.source.key if material.source is not None else ""
    return AskChoice("What to look at", choices, chosen)


def ask_order(material: Material, query: Query) -> AskChoice:
    """How doubt is measured; answered by the order's value."""
    choices = [(order.value, _ORDERS[order]) for order in material.orders]
    return AskChoice("Order by", choices, query.order.value)


def ask_class(material: Material, query: Query) -> AskChoice:
    """Which class, with how many images it has; answered by its name or `ANY`."""
    choices = [(ANY, "any class")]
    images = material.opinions.rows.images_of
    choices += [(name, f"{clean(name)}  ({images.get(name, 0)})") for name in material.opinions.classes]
    return AskChoice("Only this class", choices, query.class_name)


def ask_pair(pairs: Sequence[Confusion]) -> AskChoice:
    """Which cell of the confusion matrix; answered by its place in `pairs` or `ANY`."""
    choices = [(ANY, "any")]
    choices += [
        (str(number), f"{clean(pair.true)} → {clean(pair.predicted)}  ({pair.count})")
        for number, pair in enumerate(pairs)
    ]
    return AskChoice("Only where one was taken for the other", choices)


def ask_label(material: Material, judged: Sequence[Opinion]) -> AskChoice:
    """Which class the images are; the most probable ones of the first image come first."""
    likely = material.opinions.choices.top(judged[0].id) if material.opinions.choices is not None else ()
    known = set(material.opinions.classes)
    top = [(one.name, f"{clean(one.name)}  {share(one.probability)}") for one in likely if one.name in known]
    named = {name for name, _ in top}
    others = [(name, clean(name)) for name in material.classes if name not in named]
    what = f"{len(judged)} marked images are" if len(judged) > 1 else f"{clean(judged[0].id, 60)} is"
    verdicts, makes = material.verdicts, None
    if isinstance(verdicts, LabelledFolder):
        makes = partial(verdicts.class_named, classes=material.classes)
    return AskChoice(f"What {what}", top + others, makes=makes)


def _source_words(source: Source) -> str:
    match source:
        case RoundSource():
            return f"round {source.round}: the unlabelled pool, as its teacher saw it"
        case IssueSource():
            return "label issues: the labelled images, as models that never saw them"
        case SplitSource():
            return f"{source.words.removeprefix('the ')}{'' if source.teacher else ', by the final model'}"
        case _:
            assert_never(source)


@dataclass(frozen=True, slots=True)
class Relaunch:
    """What will be trained."""

    recipe: Recipe
    """The run's, with `data.corrections` set to the review; as it is where its labels were corrected."""
    command: str
    """The command line that launches it, with Slurm where Slurm had the run."""
    corrections: int
    warning: str
    """What is given up by it; empty for nothing."""
    on_slurm: bool


def relaunch_of(material: Material) -> Relaunch:
    """The run's recipe with the review's corrections; there must be a recipe."""
    recipe, review = material.recipe, material.verdicts.path
    assert recipe is not None
    number = len(material.review.corrections)
    on_slurm = read_ticket(material.run) is not None
    engine = ["--engine", "slurm"] if on_slurm else []
    launch = ["petbench", "launch", str(material.run.recipe)]
    if isinstance(material.verdicts, LabelledFolder):
        return Relaunch(recipe, shlex.join([*launch, *engine]), number, "", on_slurm)
    data = recipe.data.model_copy(update={"corrections": str(review)})
    setting = ["--set", f"data.corrections={review}"]
    before = recipe.data.corrections
    given_up = before and Path(before) != review
    return Relaunch(
        recipe.model_copy(update={"data": data}),
        shlex.join([*launch, *setting, *engine]),
        number,
        f"The corrections of the run itself, in {before}, are not used then." if given_up else "",
        on_slurm,
    )


def launch_again(relaunch: Relaunch, runs_home: Path, data_home: Path) -> Launched:
    """Launch it, as its command does. Raises: UserError."""
    from workbench.jobs import launch
    from workbench.jobs.submission import submission_asked

    words = shlex.split(relaunch.command)
    slurm = submission_asked({}, data_home=data_home, command_line=words) if relaunch.on_slurm else None
    return launch(relaunch.recipe, runs_home, data_home=data_home, command_line=words, slurm=slurm)


def write_draft(recipe: Recipe) -> Path:
    """Write a recipe where Compose can open it. Raises: UserError, when it cannot be written."""
    path = state_home() / "drafts" / f"{slug(recipe.name)}.toml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, dump_recipe(recipe))
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror or error}", where=clean(path)) from error
    return path


class AskRelaunch(GuardedLoop, ModalScreen[str | None]):
    """`LAUNCH`, `COMPOSE`, or None when it was left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", f"answer('{LAUNCH}')", "launch"),
        Binding("c", f"answer('{COMPOSE}')", "compose"),
        Binding("n,escape,q", "dismiss(None)", "no"),
    ]

    def __init__(self, relaunch: Relaunch) -> None:
        super().__init__(classes="asking")
        self._relaunch = relaunch

    def compose(self) -> ComposeResult:
        """What, by which command, the keys."""
        number, warning = self._relaunch.corrections, self._relaunch.warning
        with Vertical(classes="box"):
            yield Static(plain(f"Train again with {number} correction{'' if number == 1 else 's'}?", "bold"))
            command = plain(self._relaunch.command)
            command.no_wrap, command.overflow = False, "fold"
            yield Static(command, classes="detail")
            if warning:
                yield Static(plain_lines(warning), classes="problem")
            yield Static(Text("y launch it   c look at the recipe in Compose first   n no"), classes="keys")

    def action_answer(self, answer: str) -> None:
        """Close with the answer."""
        self.dismiss(answer)
