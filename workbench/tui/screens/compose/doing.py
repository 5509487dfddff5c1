"""What can be done with the draft: open, save, launch, sweep, look at its views."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping

from workbench.recipe.grid import GridPoint, expand_grid_text, split_values
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.units import human_count
from workbench.tui.places import RunsPlace, WatchPlace
from workbench.tui.screens.asking import AskChoice, AskText, AskYesNo
from workbench.tui.screens.compose.commands import launch_command, needs_saving, other_commands
from workbench.tui.screens.compose.counts import CountsScreen
from workbench.tui.screens.compose.fields import BACKBONE, GROUPS, FormField
from workbench.tui.screens.compose.knowing import ComposeFacts
from workbench.tui.screens.compose.networks import BackboneRow, cached_backbones, fetch_backbones
from workbench.tui.screens.compose.preview import PreviewScreen
from workbench.tui.screens.compose.saving import check_path, overwrite_warning, proposed_path, save
from workbench.tui.screens.compose.sources import choices, open_source
from workbench.tui.screens.compose.sweep import SweepScreen
from workbench.tui.screens.compose.typed import literal_typed, shown_value

_NOT_SWEPT = ("name", "description", "tags")


class ComposeDoing(ComposeFacts):
    """The actions of the registry."""

    # Refusals

    def why_not(self, action: str) -> str | None:
        """Why an action cannot be done now."""
        match action.partition(".")[2]:
            case "launch" | "preview":
                return self._why_invalid()
            case "sweep":
                return self._why_no_sweep(self._form.field)
            case "undo":
                return None if self.history.can_undo else "Nothing to take back."
            case "redo":
                return None if self.history.can_redo else "Nothing was taken back."
            case "reset":
                return self._why_no_reset(self._form.field)
            case "problem":
                return None if self.checked.all_problems else "Nothing is wrong."
            case "counts":
                known = self._split is not None and self._split.summary is not None
                return None if known else "The split is not counted; the line above the help says why."
            case "pick":
                return None if self.draft.broken is None else "Mend the TOML first: tab goes there."
        return None

    def _why_invalid(self) -> str | None:
        problems = self.checked.all_problems
        if problems:
            return f"Not before the recipe is valid: {problems[0].what}."
        return None

    def _why_no_sweep(self, one: FormField | None) -> str | None:
        if one is None:
            return "Put the cursor on the field to sweep over."
        if one.key in _NOT_SWEPT:
            return f"{one.key} makes no run different."
        return None

    def _why_no_reset(self, one: FormField | None) -> str | None:
        if self.draft.broken is not None:
            return "Mend the TOML first: tab goes there."
        if one is None:
            return "Put the cursor on the field to put back."
        if self.draft.look().written(one.key) is None:
            return f"{one.key} is at its default."
        return None

    # The command line

    def twin(self) -> list[str]:
        """Launching first, then checking, showing and previewing."""
        self.hear_now()
        lines = [launch_command(self.draft, self.grid), *other_commands(self.draft)]
        if needs_saving(self.draft):
            self.notify("The draft is not saved like this: S first, then these commands are right.")
        return lines

    # Moving about

    def do_toml(self) -> None:
        """Between the form and its text."""
        self.hear_now()
        if self.focused is self._toml:
            self.remove_class("-toml")
            self._form.focus()
        else:
            self.add_class("-toml")
            one = self._form.field
            line = self.draft.line_of(self._form.cursor.removeprefix("group:") if one is None else one.key)
            if line is not None:
                self._toml.move_cursor((line - 1, 0), center=True)
            self._toml.focus()

    def do_fold(self) -> None:
        """Open all groups, or close all when all are open."""
        every = frozenset(group.name for group in GROUPS)
        self.show_groups(frozenset() if self._opened == every else every)

    def do_problem(self) -> None:
        """To the next thing that is wrong."""
        self.hear_now()
        broken = self.draft.broken
        if broken is not None:
            self.add_class("-toml")
            self._toml.focus()
            self._toml.move_cursor(((broken.line or 1) - 1, 0))
            return
        self.go_to_problem()

    def do_counts(self) -> None:
        """The split's images class by class."""
        if self._split is not None and self._split.summary is not None:
            self.app.push_screen(CountsScreen(self._split.summary))

    # Changing the draft

    def do_undo(self) -> None:
        """A step back; a field that is being typed in is left first."""
        self.leave_editor()
        self.hear_now()
        self.history.undo()
        self.show_draft()
        self.keep()

    def do_redo(self) -> None:
        """The step again."""
        self.leave_editor()
        self.history.redo()
        self.show_draft()
        self.keep()

    def do_reset(self) -> None:
        """The field's default."""
        one = self._form.field
        if one is not None:
            self.grid.pop(one.key, None)
            self.set_field(one.key, None)

    async def do_open(self) -> None:
        """Begin with something else."""
        self.hear_now()
        view = self.bench.view
        shelf = (*self.shelf, *self.drafts_elsewhere())
        listed = choices(view.summaries if view is not None else (), shelf)
        source = await self.app.push_screen_wait(AskChoice("Start from", listed))
        if source is not None:
            draft = await asyncio.to_thread(open_source, source, self.bench.runs_home, shelf)
            self.take_source(draft)
            self._form.focus()

    async def do_pick(self) -> None:
        """A backbone from the list."""
        rows = cached_backbones()
        if not rows:
            self.notify("Asking petbench which backbones there are…")
            rows = await fetch_backbones()
        listed = [(row.name, _backbone_words(row)) for row in rows]
        chosen = self.draft.look()[BACKBONE]
        name = await self.app.push_screen_wait(AskChoice("Backbone", listed, str(chosen)))
        if name is not None:
            self.set_field(BACKBONE, f'"{name}"')

    async def do_sweep(self) -> None:
        """Values of the field under the cursor for a sweep."""
        self.hear_now()
        one = self._form.field
        if one is None:
            return
        value = self.draft.look()[one.key]
        typed = self.grid.get(one.key) or ("" if value is None else shown_value(one, value))
        question = f"Sweep over {one.key}: values with commas between; empty sweeps no more"
        answer = await self.app.push_screen_wait(
            AskText(
                question, typed, placeholder=_example(one), check=lambda text: self._check_axis(one, text)
            )
        )
        if answer is None:
            return
        self.grid.pop(one.key, None)
        if split_values(answer):
            self.grid[one.key] = answer.strip()
        self.show_draft()
        self.keep()

    def _check_axis(self, one: FormField, typed: str) -> None:
        if split_values(typed):
            self._points({one.key: typed})

    # What leaves the screen

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
        self.history.replace(saved)
        self.as_opened = saved.text
        self.show_draft()
        self.keep()
        self.notify(f"saved: {clean(path)}" + ("" if saved.is_valid else ", though it is not valid yet"))

    async def do_preview(self) -> None:
        """Augmented views of real images."""
        self.hear_now()
        self.app.push_screen(PreviewScreen(self.draft, self.bench.data_home))

    async def do_launch(self) -> None:
        """Start the run, or all runs of the sweep."""
        self.hear_now()
        reason = self._why_invalid()
        if reason is not None:
            raise UserError(reason)
        points = self._points(self.grid)
        if self.grid and not await self.app.push_screen_wait(SweepScreen(points, self._estimate)):
            return
        launched = await asyncio.to_thread(self._launch, points, launch_command(self.draft, self.grid))
        if len(launched) == 1:
            self.bench.go(WatchPlace(run=launched[0]))
        else:
            self.notify(f"{len(launched)} runs launched: they go one after the other on each device.")
            self.bench.go(RunsPlace())

    def _launch(self, points: list[GridPoint], command: str) -> list[str]:
        from workbench.jobs import check_launch, launch

        home, data = self.bench.runs_home, self.bench.data_home
        for point in points:
            check_launch(point.recipe, data_home=data)
        words = shlex.split(command)
        return [launch(point.recipe, home, data_home=data, command_line=words).run.id for point in points]

    def count_runs(self) -> int:
        """Runs of the sweep that is marked; 0 without one."""
        count = 1
        for typed in self.grid.values():
            count *= max(1, len(split_values(typed)))
        return count if self.grid else 0

    def _points(self, grid: Mapping[str, str]) -> list[GridPoint]:
        draft = self.draft
        values = {key: split_values(typed) for key, typed in grid.items()}
        return expand_grid_text(draft.text, "the recipe", values, folder=draft.folder)


def _example(one: FormField) -> str:
    default = one.default or (literal_typed(one, "1") or "")
    return ", ".join(one.choices[:3]) if one.choices else f"{default}, …"


def _backbone_words(row: BackboneRow) -> str:
    size = "" if row.parameters is None else human_count(row.parameters)
    accuracy = "" if row.accuracy is None else f"{100 * row.accuracy:.1f} % ImageNet"
    return f"{clean(row.name, 34):<34} {size:>9}  {accuracy:<16} {row.source}"
