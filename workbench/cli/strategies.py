"""`petbench strategies`: every way to use unlabelled images, from the knob models alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from rich.text import Text

from workbench.cli.arguments import Json
from workbench.cli.console import cell, console, make_table, print_json
from workbench.recipe import STRATEGIES, knobs_of
from workbench.recipe.fields import Table
from workbench.recipe.knobs import Knob
from workbench.recipe.offline import FromProbabilities, Taught
from workbench.recipe.online import Online
from workbench.recipe.pseudo_label import LABEL_POLICIES, PseudoLabel
from workbench.recipe.training import Training
from workbench.support.clean import clean
from workbench.support.errors import UserError, nearest
from workbench.support.toml_text import toml_literal


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the list."""

    kind: str
    """rule, objective, label policy or modifier."""
    name: str
    about: str
    source: str
    recipe: str
    """What to write in [pseudo_label] (or where it says) to have it."""
    knobs: tuple[Knob, ...]


def strategies(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show this one alone, with all its knobs.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the selection rules, online objectives, label policies and modifiers, with their sources."""
    entries = tuple(known_strategies())
    if name is not None:
        entries = tuple(entry for entry in entries if entry.name == name)
        if not entries:
            names = [entry.name for entry in known_strategies()]
            near = nearest(name, names)
            raise UserError(
                f"nothing is called {clean(name, 80)!r}",
                allowed=names,
                hint=f"did you mean {near}?" if near else "",
            )
    if as_json:
        print_json("strategies", {"strategies": [_plain(entry) for entry in entries]})
    elif name is not None:
        _print_one(entries[0])
    else:
        _print_all(entries)


def known_strategies() -> Iterator[Entry]:
    """Every strategy, label policy and modifier; rules and objectives come from the recipe's registry."""
    shared = {knob.key for knob in knobs_of(PseudoLabel)}
    for name, table in STRATEGIES.items():
        yield Entry(
            kind="objective" if issubclass(table, Online) else "rule",
            name=name,
            about=_about(table),
            source=table.source,
            recipe=f"strategy = {toml_literal(name)}",
            knobs=tuple(knob for knob in knobs_of(table) if knob.key not in shared),
        )
    yield from _policies()
    yield from _modifiers()


def _policies() -> Iterator[Entry]:
    for name, policy in LABEL_POLICIES.items():
        knobs = _named(PseudoLabel, policy.knobs)
        yield Entry("label policy", name, policy.about, policy.source, policy.recipe, knobs)


def _modifiers() -> Iterator[Entry]:
    rows: tuple[tuple[str, str, str, str, type[Table], tuple[str, ...]], ...] = (
        (
            "sinkhorn",
            "Makes the pool's classes exactly as frequent as expected before anything is chosen.",
            "Cuturi 2013; Sinkhorn and Knopp 1967",
            'balance = "sinkhorn"',
            Taught,
            ("balance", "prior", "sinkhorn_steps"),
        ),
        (
            "distribution_alignment",
            "Scales each class by its expected over its average share, q ← norm(q·π/p̄).",
            "Berthelot et al. 2020, ReMixMatch",
            'balance = "align"',
            Taught,
            ("balance", "prior", "alignment_decay"),
        ),
        (
            "temperature_scaling",
            "Fits one temperature of the teacher's logits on the validation images.",
            "Guo et al. 2017",
            "calibrate = true",
            FromProbabilities,
            ("calibrate",),
        ),
        (
            "ema",
            "Evaluates, and teaches with, an average of the weights.",
            "Polyak and Juditsky 1992; Tarvainen and Valpola 2017",
            "[training] ema = 0.99",
            Training,
            ("ema",),
        ),
    )
    for name, about, source, recipe, table, keys in rows:
        yield Entry("modifier", name, about, source, recipe, _named(table, keys))


def _named(table: type[Table], keys: tuple[str, ...]) -> tuple[Knob, ...]:
    return tuple(knob for knob in knobs_of(table) if knob.key in keys)


def _about(table: type[Table]) -> str:
    return (table.__doc__ or "").strip().partition("\n")[0]


def _plain(entry: Entry) -> dict[str, Any]:
    return asdict(entry) | {"knobs": [_plain_knob(knob) for knob in entry.knobs]}


def _plain_knob(knob: Knob) -> dict[str, Any]:
    default = knob.default.model_dump() if isinstance(knob.default, Table) else knob.default
    return {
        "key": knob.key,
        "default": default,
        "help": knob.help,
        "allowed": knob.allowed,
        "unit": knob.unit,
        "source": knob.source,
        "only_if": knob.only_if,
        "unset": knob.unset,
    }


def _print_all(entries: tuple[Entry, ...]) -> None:
    titles = {
        "rule": "Offline: a teacher labels, a student learns",
        "objective": "Online: the student labels every batch as it trains",
        "label policy": "Which images keep their label",
        "modifier": "Modifiers",
    }
    for kind, title in titles.items():
        table = make_table([kind, "what it does", "source"], title=title, prose=("what it does", "source"))
        for entry in entries:
            if entry.kind == kind:
                table.add_row(cell(entry.name), cell(entry.about), cell(entry.source or "–"))
        console.print(table)
    console.print("petbench strategies NAME shows its knobs; --json has all of them.")


def _print_one(entry: Entry) -> None:
    console.print(Text(f"{entry.name} ({entry.kind}): {entry.about}"), soft_wrap=True)
    if entry.source:
        console.print(Text(f"source: {entry.source}"), soft_wrap=True)
    console.print(Text(f"recipe: {entry.recipe}"), soft_wrap=True)
    table = make_table(["knob", "default", "what it does"], prose=("default", "what it does"))
    for knob in entry.knobs:
        story = knob.help + (f"; with {knob.only_if}" if knob.only_if else "")
        table.add_row(cell(knob.key), _default(knob), cell(story))
    console.print(table)


def _default(knob: Knob) -> Text:
    if knob.default is None:
        return cell(f"unset: {knob.unset}" if knob.unset else "–", "dim")
    if isinstance(knob.default, Table):
        given = knob.default.model_dump(exclude_none=True)
        return cell(toml_literal(given) if given else "unset")
    return cell(toml_literal(knob.default))
