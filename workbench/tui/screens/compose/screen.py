"""Compose: a recipe as a form, with its TOML beside it, and what it will do before it does it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual import on, work
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widget import Widget

from workbench.recipe.source import split_values
from workbench.runs.summary import RunSummary
from workbench.runs.watching import RunsView
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.paths import config_file, short_path
from workbench.support.toml_text import toml_literal
from workbench.tui.places import ComposePlace, RunsPlace, WatchPlace
from workbench.tui.screens.compose.augmentation_preview import PreviewScreen
from workbench.tui.screens.compose.draft import (
    Draft,
    check_path,
    fresh_draft,
    open_source,
    overwrite_warning,
    proposed_path,
    save,
    source_choices,
)
from workbench.tui.screens.compose.draft_launch import (
    LOCAL,
    SLURM,
    SweepScreen,
    draft_sweep,
    engine_choices,
    launch_command,
    launch_draft,
    launch_sweep,
    needs_saving,
    other_commands,
    submission,
)
from workbench.tui.screens.compose.draft_model import DraftModel
from workbench.tui.screens.compose.editors import FieldEditor, TomlPane
from workbench.tui.screens.compose.explanation import Explanation, HeadLine
from workbench.tui.screens.compose.fact_finder import Answer, FactFinder, Question
from workbench.tui.screens.compose.facts import CountsScreen, Facts, FactsPanel
from workbench.tui.screens.compose.form import Form, FormPane
from workbench.tui.screens.compose.form_lines import FormState, choice_list, next_problem
from workbench.tui.screens.compose.knob_fields import (
    BACKBONE,
    GROUPS,
    FieldKind,
    FormField,
    literal_typed,
    shown_value,
    sweep_example,
)
from workbench.tui.screens.compose.networks import cached_backbones, fetch_backbones
from workbench.tui.screens.dialogs import AskChoice, AskText, AskYesNo
from workbench.tui.screens.place import WIDE_COLUMNS, PlaceScreen, bindings_of

_FIRST_OPEN = ("finetune",)
_FIRST_OPEN_WIDE = ("", "model", "finetune", "optimizer", "pseudo_label")


class ComposeScreen(PlaceScreen[ComposePlace]):
    """The form of a new recipe."""

    SCOPE = "compose"
    CSS_PATH = Path(__file__).with_name("compose.tcss")
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("compose")]

    @dataclass
    class Counted(Message):
        """The split was counted, and past runs were asked."""

        answer: Answer

    def __init__(self, place: ComposePlace) -> None:
        super().__init__(place)
        self.model = DraftModel(fresh_draft())
        self._finder = FactFinder()
        self._opened = frozenset(_FIRST_OPEN)
        self._head = HeadLine()
        self._form_pane = FormPane(self._state())
        self._form, self._editor = self._form_pane.form, self._form_pane.editor
        self._toml = TomlPane()
        self._full_facts = FactsPanel(id="facts")
        self._short_facts = FactsPanel(id="short-facts", is_short=True)
        self._explanation = Explanation()

    @property
    def draft(self) -> Draft:
        """The recipe as it is being written."""
        return self.model.draft

    def title_text(self) -> str:
        """What the top bar says."""
        return "compose"

    def body(self) -> Iterable[Widget]:
        """Head, form, TOML, facts, and help for what is under the cursor."""
        yield self._head
        with Horizontal(id="panes"):
            yield self._form_pane
            with Vertical(id="side"):
                yield self._toml
                yield self._full_facts
        yield self._short_facts
        yield self._explanation

    # What the session keeps

    def kept(self) -> Mapping[str, Any]:
        """The draft, those set aside, and where the cursor is."""
        return {**self.model.kept(), "opened": sorted(self._opened), "cursor": self._form.cursor}

    def restore(self, values: Mapping[str, Any]) -> None:
        """The draft of the last time; or what the place names, with the other one set aside."""
        left = self.bench.session.take_left(self.SCOPE)
        if left:
            self.call_after_refresh(self.keep)
        if self.model.restore(values, left):
            opened = values.get("opened")
            if isinstance(opened, list):
                self._opened = frozenset(group.name for group in GROUPS if group.name in opened)
        elif self.size.width >= WIDE_COLUMNS:
            self._opened = frozenset(_FIRST_OPEN_WIDE)
        self.show_draft()
        if isinstance(values.get("cursor"), str):
            self._form.move_to(values["cursor"])
        if self.place.source:
            source = self.place.source
            self.place = ComposePlace()
            self.bench.replaced(self.place)
            try:
                self.begin(open_source(source, self.bench.runs_home))
            except UserError as error:
                self.bench.show_user_error(error)

    def drafts_elsewhere(self) -> list[Draft]:
        """What is being written in other windows, as it is now."""
        return self.model.others(self.bench.session.elsewhere(self.SCOPE))

    # The draft changes

    def begin(self, draft: Draft) -> None:
        """Begin with another recipe; a draft with changes is set aside first."""
        old = self.draft
        if self.model.begin(draft):
            self.notify(f"Your draft of {clean(old.origin, 60)} was set aside: o lists it.")
        self._go_on()

    def set_field(self, key: str, literal: str | None, step: str = "") -> None:
        """Change a field, and say what that took out of the text."""
        try:
            gone = self.model.set_value(key, literal, step)
        except UserError as error:
            self.bench.show_user_error(error)
            return
        if gone and literal is not None:
            shown = ", ".join(gone[:4]) + (f" and {len(gone) - 4} more" if len(gone) > 4 else "")
            self.notify(f"no longer counts, taken out: {shown}")
        self._go_on()

    def show_groups(self, opened: frozenset[str]) -> None:
        """Open these groups and close the others."""
        self._opened = opened
        self._go_on()

    def _go_on(self) -> None:
        self.show_draft()
        self.keep()

    def show_draft(self) -> None:
        """Draw everything anew, and find out what is not known of the draft."""
        self._look_for_facts()
        state = self._state()
        self._form.show(state)
        self._toml.show(state.draft.text, None if state.draft.broken is None else state.draft.broken.line)
        self._head.show(state.draft, on_slurm=self.model.slurm is not None)
        self._explain(state)
        self._show_facts()
        self.refresh_keys()

    def _state(self) -> FormState:
        model = self.model
        return FormState(model.checked, self._opened, dict(model.grid), model.network)

    def _explain(self, state: FormState) -> None:
        self._explanation.show(state, self._form.cursor, self._form.field)

    def focus_help(self) -> str:
        """The whole help of the line under the cursor, and what the keys do there."""
        return self._explanation.sentence

    # What follows from it

    def _look_for_facts(self) -> None:
        name = self._finder.look_at_network(self.draft)
        if name is not None:
            self._ask_network(name)
        self.model.learn(self._finder.network)
        question = self._finder.look_at_split(self.draft)
        if question is not None:
            self._count(question)

    def _show_facts(self) -> None:
        found, model = self._finder, self.model
        facts = Facts(
            model.checked, found.network, found.network_problem, found.split, found.estimate, model.run_count
        )
        self._full_facts.show(facts)
        self._short_facts.show(facts)

    def runs_changed(self, view: RunsView) -> None:
        """Another run may tell more."""
        question = self._finder.look_at_runs()
        if view.complete and question is not None:
            self._count(question)

    def _past_runs(self) -> Sequence[RunSummary]:
        view = self.bench.view
        return () if view is None else view.summaries

    @work(exclusive=True, group="count")
    async def _count(self, question: Question) -> None:
        def tell(answer: Answer) -> None:
            self.post_message(self.Counted(answer))

        await self._finder.count(question, self.bench.data_home, self._past_runs, tell)

    @on(Counted)
    def _counted(self, message: Counted) -> None:
        if self._finder.take(message.answer):
            self._show_facts()

    @work(exclusive=True, group="network")
    async def _ask_network(self, name: str) -> None:
        if await self._finder.ask_network(name):
            self.show_draft()

    # What the form and the text say

    @on(Form.Moved)
    def _moved(self) -> None:
        self.model.history.close_step()
        self._explain(self._state())
        self.refresh_keys()
        self.keep()

    @on(Form.Set)
    def _set(self, message: Form.Set) -> None:
        self.set_field(message.key, message.literal)

    @on(Form.Opened)
    def _group_opened(self, message: Form.Opened) -> None:
        change = frozenset((message.group,))
        self.show_groups(self._opened | change if message.is_open else self._opened - change)

    @on(Form.Asked)
    def _asked(self, message: Form.Asked) -> None:
        one = message.field
        reason = self.model.why_not_edit()
        if reason is not None:
            self.notify(reason, severity="warning")
        elif one.kind is FieldKind.CHOICE:
            self._choose(one)
        else:
            written = self.draft.look().written(one.key)
            self.model.history.close_step()
            self._form_pane.open_editor(one, "" if written is None else shown_value(one, written))

    def _choose(self, one: FormField) -> None:
        """One of many choices from a list, with what each does where that is known."""
        value = self.draft.look()[one.key]

        def chosen(literal: str | None) -> None:
            if literal is not None:
                self.set_field(one.key, literal or None)

        current = "" if value is None else toml_literal(value)
        self.app.push_screen(AskChoice(one.label.replace("_", " "), choice_list(one), current), chosen)

    @on(FieldEditor.Paused)
    @on(TomlPane.Paused)
    def hear_now(self) -> None:
        """Take what was typed and not heard yet: when typing pauses, and before anything is done with it."""
        one, typed = self._editor.field, self._editor.take()
        if one is not None and typed is not None:
            self.set_field(one.key, literal_typed(one, typed), step=f"field {one.key}")
        text = self._toml.take()
        if text is not None:
            self.model.set_text(text, step=f"text {self._toml.cursor_location[0]}")
            self._go_on()

    @on(FieldEditor.Left)
    def _editor_left(self, message: FieldEditor.Left) -> None:
        self.leave_editor()
        if message.by:
            self._form.action_move(message.by)

    @on(FieldEditor.Blurred)
    def leave_editor(self) -> None:
        """Take what was typed and give the keys back to the form, if a field is being typed in."""
        if self._editor.field is not None:
            self.hear_now()
            self.model.history.close_step()
            self._form_pane.close_editor()

    def on_resize(self) -> None:
        """The place of what is typed moved: it is taken."""
        self.leave_editor()

    @on(TomlPane.Left)
    def _toml_left(self) -> None:
        self.hear_now()
        self.remove_class("-toml")
        self._form.focus()

    @on(TomlPane.Undo)
    def _toml_undo(self, message: TomlPane.Undo) -> None:
        self.hear_now()
        if self.model.redo() if message.redo else self.model.undo():
            self._go_on()

    # The actions of the registry

    def why_not(self, action: str) -> str | None:
        """Why an action cannot be done now."""
        model, one = self.model, self._form.field
        match action.partition(".")[2]:
            case "launch" | "preview":
                return model.why_not_launch()
            case "sweep":
                return model.why_not_sweep(one)
            case "undo":
                return None if model.history.can_undo else "Nothing to take back."
            case "redo":
                return None if model.history.can_redo else "Nothing was taken back."
            case "reset":
                return model.why_not_reset(one)
            case "problem":
                return None if model.checked.all_problems else "Nothing is wrong."
            case "counts":
                known = self._finder.summary is not None
                return None if known else "The split is not counted; the line above the help says why."
            case "pick":
                return model.why_not_edit()
        return None

    def twin(self) -> list[str]:
        """Launching first, then checking, showing and previewing."""
        self.hear_now()
        model = self.model
        lines = [launch_command(self.draft, model.grid, model.slurm), *other_commands(self.draft)]
        if needs_saving(self.draft):
            self.notify("The draft is not saved like this: S first, then these commands are right.")
        return lines

    def do_toml(self) -> None:
        """Between the form and its text."""
        self.hear_now()
        if self.focused is self._toml:
            self.remove_class("-toml")
            self._form.focus()
            return
        one = self._form.field
        line = self.draft.line_of(self._form.cursor.removeprefix("group:") if one is None else one.key)
        self._go_to_toml(line, center=True)

    def _go_to_toml(self, line: int | None, *, center: bool = False) -> None:
        self.add_class("-toml")
        if line is not None:
            self._toml.move_cursor((line - 1, 0), center=center)
        self._toml.focus()

    def do_fold(self) -> None:
        """Open all groups, or close all when all are open."""
        every = frozenset(group.name for group in GROUPS)
        self.show_groups(frozenset() if self._opened == every else every)

    def do_problem(self) -> None:
        """To the next thing that is wrong, with its group open."""
        self.hear_now()
        broken = self.draft.broken
        if broken is not None:
            self._go_to_toml(broken.line or 1)
            return
        found = next_problem(self._state(), self._form.cursor)
        if found is not None:
            line, group = found
            self.show_groups(self._opened | {group})
            self._form.move_to(line)
            self._form.focus()

    def do_counts(self) -> None:
        """The split's images class by class."""
        summary = self._finder.summary
        if summary is not None:
            self.app.push_screen(CountsScreen(summary))

    def do_undo(self) -> None:
        """A step back; a field that is being typed in is left first."""
        self.leave_editor()
        self.hear_now()
        self.model.undo()
        self._go_on()

    def do_redo(self) -> None:
        """The step again."""
        self.leave_editor()
        self.model.redo()
        self._go_on()

    def do_reset(self) -> None:
        """The field's default."""
        one = self._form.field
        if one is not None:
            self.model.sweep(one.key, "")
            self.set_field(one.key, None)

    async def do_open(self) -> None:
        """Begin with something else."""
        self.hear_now()
        shelf = (*self.model.shelf, *self.drafts_elsewhere())
        listed = source_choices(self._past_runs(), shelf)
        source = await self.app.push_screen_wait(AskChoice("Start from", listed))
        if source is not None:
            self.begin(await asyncio.to_thread(open_source, source, self.bench.runs_home, shelf))
            self._form.focus()

    async def do_pick(self) -> None:
        """A backbone from the list."""
        rows = cached_backbones()
        if not rows:
            self.notify("Asking petbench which backbones there are…")
            rows = await fetch_backbones()
        listed = [(row.name, row.words) for row in rows]
        chosen = str(self.draft.look()[BACKBONE])
        name = await self.app.push_screen_wait(AskChoice("Backbone", listed, chosen))
        if name is not None:
            self.set_field(BACKBONE, f'"{name}"')

    async def do_sweep(self) -> None:
        """Values of the field under the cursor for a sweep."""
        self.hear_now()
        one = self._form.field
        if one is None:
            return

        def check(text: str) -> None:
            if split_values(text):
                draft_sweep(self.draft, {one.key: text})

        value = self.draft.look()[one.key]
        typed = self.model.grid.get(one.key) or ("" if value is None else shown_value(one, value))
        question = f"Sweep over {one.key}: values with commas between; empty sweeps no more"
        answer = await self.app.push_screen_wait(
            AskText(question, typed, placeholder=sweep_example(one), check=check)
        )
        if answer is not None:
            self.model.sweep(one.key, answer)
            self._go_on()

    async def do_save(self) -> None:
        """Write the TOML to a file."""
        self.hear_now()
        answer = await self.app.push_screen_wait(
            AskText("Save the recipe as", str(proposed_path(self.draft)), check=check_path)
        )
        if answer is None:
            return
        path = check_path(answer)
        warning = overwrite_warning(self.draft, path)
        if warning and not await self.app.push_screen_wait(AskYesNo(warning, "What is there now is lost.")):
            return
        saved = await asyncio.to_thread(save, self.draft, path)
        self.model.saved(saved)
        self._go_on()
        self.notify(f"saved: {clean(path)}" + ("" if saved.is_valid else ", though it is not valid yet"))

    async def do_preview(self) -> None:
        """Augmented views of real images."""
        self.hear_now()
        self.app.push_screen(PreviewScreen(self.draft, self.bench.data_home))

    async def do_launch(self) -> None:
        """Start the run, or all runs of the sweep."""
        self.hear_now()
        reason = self.model.why_not_launch()
        if reason is not None:
            raise UserError(reason)
        grid, slurm, bench, draft = self.model.grid, self.model.slurm, self.bench, self.draft
        homes = bench.runs_home, bench.data_home
        if not grid:
            run = await asyncio.to_thread(launch_draft, draft, slurm, *homes)
            bench.go(WatchPlace(run=run))
            return
        sweep = draft_sweep(draft, grid)
        asked = SweepScreen(sweep.runs, self._finder.estimate, on_slurm=slurm is not None)
        if await self.app.push_screen_wait(asked):
            command = launch_command(draft, grid, slurm)
            self.notify(await asyncio.to_thread(launch_sweep, sweep, command, slurm, *homes))
            bench.go(RunsPlace())

    async def do_engine(self) -> None:
        """This machine's own queue, or Slurm and what it is asked for."""
        self.hear_now()
        model, bench = self.model, self.bench
        chosen = await self.app.push_screen_wait(
            AskChoice("Launch with", engine_choices(), LOCAL if model.slurm is None else SLURM)
        )
        if chosen is None:
            return
        typed: str | None = None
        if chosen == SLURM:
            check = partial(submission, command="", data_home=bench.data_home)
            file = clean(short_path(config_file()))
            typed = await self.app.push_screen_wait(
                AskText(
                    f"What a job is asked for over [cluster] in {file}; empty: that alone",
                    model.slurm or "",
                    placeholder="--partition gpu --time 4:00:00 --gpus 1 --max-parallel 8",
                    check=check,
                )
            )
            if typed is None:
                return
        model.slurm = typed
        self._go_on()
