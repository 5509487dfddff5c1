"""The Compose screen's layout and its draft: form and TOML in step, undo, what the session keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Horizontal, Vertical
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Static

from workbench.recipe.literals import toml_literal
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.tui.places import ComposePlace
from workbench.tui.screens.asking import AskChoice
from workbench.tui.screens.compose.draft import Draft, edit, retext, taken_out
from workbench.tui.screens.compose.drawing import choice_word
from workbench.tui.screens.compose.editor import FieldEditor
from workbench.tui.screens.compose.explaining import explain_line, key_hint
from workbench.tui.screens.compose.facts import Facts
from workbench.tui.screens.compose.fields import (
    GROUPS,
    STRATEGY,
    FieldKind,
    FormField,
    field_by_key,
    strategy_story,
)
from workbench.tui.screens.compose.form import Form
from workbench.tui.screens.compose.group_check import with_group_check
from workbench.tui.screens.compose.history import History
from workbench.tui.screens.compose.keeping import pack, shelve, unpack, unpack_all, with_left
from workbench.tui.screens.compose.lines import FormState, problem_ids
from workbench.tui.screens.compose.networks import Network
from workbench.tui.screens.compose.sources import fresh_draft, open_source
from workbench.tui.screens.compose.toml_pane import TomlPane
from workbench.tui.screens.compose.typed import literal_typed, shown_value
from workbench.tui.screens.place import WIDE_COLUMNS, PlaceScreen
from workbench.tui.themes import palette_of

_TYPING_SECONDS = 0.15
_FIRST_OPEN = ("finetune",)
_FIRST_OPEN_WIDE = ("", "model", "finetune", "optimizer", "pseudo_label")


class ComposeCore(PlaceScreen[ComposePlace]):
    """The draft on the screen; facts about it and what can be done with it are the subclasses'."""

    def __init__(self, place: ComposePlace) -> None:
        super().__init__(place)
        self.history = History(fresh_draft())
        self.grid: dict[str, str] = {}
        self.shelf: list[Draft] = []
        self.network: Network | None = None
        self.as_opened = self.history.draft.text
        """The draft's text when it came to the screen; one that is still that need not be set aside."""
        self._opened = frozenset(_FIRST_OPEN)
        self._form = Form(FormState(self.draft))
        self._editor = FieldEditor()
        self._toml = TomlPane()
        self._waiting: Timer | None = None
        self._unheard: str | None = None

    @property
    def draft(self) -> Draft:
        """The recipe as it is being written."""
        return self.history.draft

    @property
    def checked(self) -> Draft:
        """The draft with what the backbone refuses among its problems, where the backbone is known."""
        return with_group_check(self.draft, self.network)

    # Layout

    def title_text(self) -> str:
        """What the top bar says."""
        return "compose"

    def body(self) -> Iterable[Widget]:
        """Head, form, TOML, facts, and help for what is under the cursor."""
        yield Static(id="head", markup=False)
        with Horizontal(id="panes"):
            yield from self._form_pane()
            with Vertical(id="side"):
                yield self._toml
                yield Static(id="facts", markup=False)
        yield Static(id="short-facts", markup=False)
        yield Static(id="explain", markup=False)

    def _form_pane(self) -> ComposeResult:
        with Container(id="form-pane"):
            yield self._form
            yield self._editor

    # What the session keeps

    def kept(self) -> Mapping[str, Any]:
        """The draft, those set aside, and where the cursor is."""
        return {
            "draft": pack(self.draft),
            "as_opened": self.as_opened,
            "shelf": [pack(draft) for draft in self.shelf],
            "grid": dict(self.grid),
            "opened": sorted(self._opened),
            "cursor": self._form.cursor,
        }

    def restore(self, values: Mapping[str, Any]) -> None:
        """The draft of the last time; or what the place names, with the other one set aside."""
        self.shelf = unpack_all(values.get("shelf"))
        draft = unpack(values.get("draft"))
        left = self.bench.session.take_left(self.SCOPE)
        for section in left:
            self.shelf = with_left(self.shelf, section, draft)
        if left:
            self.call_after_refresh(self.keep)
        if draft is not None:
            self.history = History(draft)
            self.as_opened = str(values.get("as_opened", ""))
            self._restore_view(values)
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
                self.take_source(open_source(source, self.bench.runs_home))
            except UserError as error:
                self.bench.show_user_error(error)

    def _restore_view(self, values: Mapping[str, Any]) -> None:
        grid, opened = values.get("grid"), values.get("opened")
        if isinstance(grid, Mapping):
            self.grid = {str(key): str(typed) for key, typed in grid.items()}
        if isinstance(opened, list):
            self._opened = frozenset(group.name for group in GROUPS if group.name in opened)

    def drafts_elsewhere(self) -> list[Draft]:
        """What is being written in other windows, as it is now."""
        found = [unpack(section.get("draft")) for section in self.bench.session.elsewhere(self.SCOPE)]
        return [draft for draft in found if draft is not None and draft.text != self.draft.text]

    # The draft changes

    def take_source(self, draft: Draft) -> None:
        """Begin with another recipe; a draft with changes is set aside first."""
        old = self.draft
        if old.is_changed and old.text not in (self.as_opened, draft.text):
            self.shelf = shelve(self.shelf, old)
            self.notify(f"Your draft of {clean(old.origin, 60)} was set aside: o lists it.")
        self.shelf = [one for one in self.shelf if one.text != draft.text]
        self.grid = {}
        self.as_opened = draft.text if draft.saved in ("", draft.text) else ""
        self.history = History(draft)
        self.show_draft()
        self.keep()

    def take(self, draft: Draft, step: str = "") -> None:
        """Go on with a draft; of one `step` only the last counts for undo."""
        self.history.push(draft, step)
        self.show_draft()
        self.keep()

    def set_field(self, key: str, literal: str | None, step: str = "") -> None:
        """Change a field, and say what that took out of the text."""
        before = self.draft
        try:
            after = edit(before, key, literal)
        except UserError as error:
            self.bench.show_user_error(error)
            return
        gone = [one for one in taken_out(before, after) if one != key]
        if gone and literal is not None:
            shown = ", ".join(gone[:4]) + (f" and {len(gone) - 4} more" if len(gone) > 4 else "")
            self.notify(f"no longer counts, taken out: {shown}")
        self.take(after, step)

    def show_draft(self) -> None:
        """Draw everything anew."""
        draft = self.checked
        offered = {one.key for one in draft.offered()}
        self.grid = {key: typed for key, typed in self.grid.items() if key in offered}
        self._form.show(FormState(draft, self._opened, dict(self.grid), self.network))
        self._toml.show(draft.text, None if draft.broken is None else draft.broken.line)
        self._show_head()
        self._explain()
        self.look_for_facts()
        self.refresh_keys()

    def look_for_facts(self) -> None:
        """Find out what follows from the draft."""
        raise NotImplementedError

    def facts(self) -> Facts:
        """What is known of the draft."""
        raise NotImplementedError

    def _show_head(self) -> None:
        colours = palette_of(self.app.theme)
        draft = self.checked
        left = Text("recipe ", style=colours.muted)
        left.append(clean(draft.origin, 60), style=f"bold {colours.text}")
        if draft.is_changed:
            left.append(" *" if draft.path else "  not saved", style=colours.warning)
        if draft.broken is not None:
            right = Text(f"✗ no TOML, line {draft.broken.line}", style=colours.bad)
        elif draft.problems:
            count = len(draft.problems)
            right = Text(f"✗ {count} problem{'s' if count > 1 else ''}: n goes there", style=colours.bad)
        else:
            right = Text("✓ valid", style=colours.good)
        head = self.query_one("#head", Static)
        space = max(2, self.size.width - 2 - left.cell_len - right.cell_len)
        head.update(Text.assemble(left, " " * space, right, no_wrap=True))

    def _explain(self) -> None:
        draft, colours = self.checked, palette_of(self.app.theme)
        pane = self.query_one("#explain", Static)
        if draft.broken is not None:
            text = Text(f"{draft.broken.where}: {draft.broken.what}", style=colours.bad)
            text.append("\nThe form shows the last text that was TOML; nothing of this one is lost.")
            pane.update(text)
            return
        one = self._form.field
        value = draft.look()[one.key] if one is not None else None
        pane.update(explain_line(self._form.cursor, one, value, self.network, colours))

    def on_resize(self) -> None:
        """Widths changed: the head is drawn anew, and what is typed is taken, as its place moved."""
        self.leave_editor()
        if self.is_mounted:
            self._show_head()

    # The form

    @on(Form.Moved)
    def _moved(self) -> None:
        self.history.close_step()
        self._explain()
        self.refresh_keys()
        self.keep()

    @on(Form.Set)
    def _set(self, message: Form.Set) -> None:
        self.set_field(message.key, message.literal)

    @on(Form.Opened)
    def _group_opened(self, message: Form.Opened) -> None:
        change = frozenset((message.group,))
        self.show_groups(self._opened | change if message.is_open else self._opened - change)

    def show_groups(self, opened: frozenset[str]) -> None:
        """Open these groups and close the others."""
        self._opened = opened
        self.show_draft()
        self.keep()

    @on(Form.Asked)
    def _asked(self, message: Form.Asked) -> None:
        if self.draft.broken is not None:
            self.notify("Mend the TOML first: tab goes there.", severity="warning")
            return
        if message.field.kind is FieldKind.CHOICE:
            self._choose(message.field)
            return
        self._form.reveal_cursor()
        self.call_after_refresh(self._open_editor, message.field)

    def _choose(self, one: FormField) -> None:
        """One of many choices from a list, with what each does where that is known."""
        width = max(len(choice_word(one, value)) for value in one.choices)
        listed = [(value, _choice_line(one, value, width)) for value in one.choices]
        value = self.draft.look()[one.key]

        def chosen(literal: str | None) -> None:
            if literal is not None:
                self.set_field(one.key, literal or None)

        current = "" if value is None else toml_literal(value)
        self.app.push_screen(AskChoice(one.label.replace("_", " "), listed, current), chosen)

    def _open_editor(self, one: FormField) -> None:
        region = self._form.value_region(one.key)
        if region is None:
            return
        written = self.draft.look().written(one.key)
        self._editor.styles.offset = (region.x + 1, region.y)
        self._editor.styles.width = region.width - 2
        self.history.close_step()
        self._unheard = None
        self._editor.open(one, "" if written is None else shown_value(one, written))

    @on(Input.Changed)
    def _field_typed(self, message: Input.Changed) -> None:
        message.stop()
        if self._editor.field is None:
            return
        self._unheard = message.value
        self._later(self._hear)

    def _hear(self) -> None:
        """Take what was typed into the draft."""
        one, typed = self._editor.field, self._unheard
        self._unheard = None
        if one is not None and typed is not None:
            self.set_field(one.key, literal_typed(one, typed), step=f"field {one.key}")

    @on(FieldEditor.Left)
    def _editor_left(self, message: FieldEditor.Left) -> None:
        self.leave_editor()
        if message.by:
            self._form.action_move(message.by)

    @on(FieldEditor.Blurred)
    def _editor_blurred(self) -> None:
        self.leave_editor()

    def leave_editor(self) -> None:
        """Take what was typed and give the keys back to the form, if a field is being typed in."""
        if self._editor.field is None:
            return
        self._hear()
        self.history.close_step()
        had_focus = self._editor.has_focus
        self._editor.close()
        if had_focus:
            self._form.focus()

    # The text

    @on(TomlPane.Typed)
    def _text_typed(self, message: TomlPane.Typed) -> None:
        self._unheard = message.text
        self._later(self._hear_text)

    def _hear_text(self) -> None:
        text, self._unheard = self._unheard, None
        if text is not None:
            line = self._toml.cursor_location[0]
            self.take(retext(self.draft, text), step=f"text {line}")

    @on(TomlPane.Left)
    def _toml_left(self) -> None:
        self.hear_now()
        self.remove_class("-toml")
        self._form.focus()

    @on(TomlPane.Undo)
    def _toml_undo(self, message: TomlPane.Undo) -> None:
        self.hear_now()
        if self.history.redo() if message.redo else self.history.undo():
            self.show_draft()
            self.keep()

    # Typing is heard when it pauses

    def _later(self, hear: Any) -> None:
        if self._waiting is not None:
            self._waiting.stop()
        self._waiting = self.set_timer(_TYPING_SECONDS, hear)

    def hear_now(self) -> None:
        """Take what was typed and not heard yet, before anything is done with the draft."""
        if self._waiting is not None:
            self._waiting.stop()
            self._waiting = None
        if self._editor.field is not None:
            self._hear()
        else:
            self._hear_text()

    # What the help screen and others ask

    def focus_help(self) -> str:
        """The whole help of the line under the cursor, and what the keys do there."""
        one = self._form.field
        value = self.draft.look()[one.key] if one is not None else None
        told = explain_line(self._form.cursor, one, value, self.network, palette_of(self.app.theme))
        return f"{told.plain.replace(chr(10), ' ')}. {key_hint(self._form.cursor, one)}"

    def go_to_problem(self) -> None:
        """Put the cursor on the next thing that is wrong, and open its group."""
        state = FormState(self.checked)
        ids = problem_ids(state)
        if not ids:
            return
        here = self._form.cursor
        target = ids[(ids.index(here) + 1) % len(ids)] if here in ids else ids[0]
        one = field_by_key(self.draft.look().strategy).get(target)
        group = one.group if one is not None else target.removeprefix("group:")
        self.show_groups(self._opened | {group})
        self._form.move_to(target)
        self._form.focus()


def _choice_line(one: FormField, value: str, width: int) -> str:
    word = choice_word(one, value)
    story = strategy_story(value.strip('"')) if one.key == STRATEGY else ""
    return f"{word:<{width}}  {story}" if story else word
