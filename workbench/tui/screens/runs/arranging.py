"""How the table is arranged: by which column, showing which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from textual import on

from workbench.runs.keys import keys_of
from workbench.runs.summary import RunSummary
from workbench.tui.screens.asking import AskChoice
from workbench.tui.screens.runs.choose_columns import ChooseColumns
from workbench.tui.screens.runs.columns import STANDARD, column_of
from workbench.tui.screens.runs.doing import RunsHandling
from workbench.tui.screens.runs.listing import Wish
from workbench.tui.screens.runs.table import RunsTable
from workbench.tui.screens.runs.words import is_number, value_of, value_words

_NEWEST = "newest first, what goes on on top"


class RunsArranging(RunsHandling):
    """Order and columns; the wish is the subclass's to fulfil."""

    _wish: Wish
    _chosen: tuple[str, ...]

    @property
    def table(self) -> RunsTable:
        """The table."""
        return self.query_one(RunsTable)

    @property
    def rows(self) -> Sequence[RunSummary]:
        """The runs shown."""
        raise NotImplementedError

    def change_wish(self, wish: Wish) -> None:
        """Arrange the table as wished from now on."""
        raise NotImplementedError

    @on(RunsTable.HeaderClicked)
    def _title_clicked(self, message: RunsTable.HeaderClicked) -> None:
        column = message.column
        if not column.key:
            self.notify(f"There is no order in '{column.title}'.", severity="warning")
        elif column.key != self._wish.sort:
            self._sort_by(column.key)
        elif self._wish.descending == self._starts_descending(column.key):
            self.do_reverse()
        else:
            self.change_wish(replace(self._wish, sort="", descending=False))

    async def do_sort(self) -> None:
        """Choose a column to sort by."""
        columns = {column.key: column for column in (*STANDARD, *self.table.columns) if column.key}
        choices = [("", _NEWEST), *((key, f"{column.title}  {key}") for key, column in columns.items())]
        chosen = await self.app.push_screen_wait(AskChoice("Sort by", choices, self._wish.sort))
        if chosen is not None:
            self._sort_by(chosen)

    def _sort_by(self, key: str) -> None:
        descending = bool(key) and self._starts_descending(key)
        self.change_wish(replace(self._wish, sort=key, descending=descending))

    def _starts_descending(self, key: str) -> bool:
        """Numbers and dates from the greatest down, text from a to z."""
        if key == "created":
            return True
        rows = self.rows
        return is_number(next((v for v in (value_of(run, key) for run in rows[:50]) if v is not None), None))

    def do_reverse(self) -> None:
        """Turn the order round."""
        wish = self._wish
        self.change_wish(
            replace(wish, sort=wish.sort or "created", descending=bool(wish.sort) and not wish.descending)
        )

    def mark_order(self) -> None:
        """Mark the column that it is sorted by."""
        shown = next((column for column in self.table.columns if column.key == self._wish.sort), None)
        self.table.show_order(
            shown.id if shown is not None and self._wish.sort else "", self._wish.descending
        )

    def do_columns(self) -> None:
        """Choose the columns."""
        known = keys_of(self.bench.view.summaries if self.bench.view is not None else ())
        standard = [column.id for column in STANDARD]
        covered = {column.key for column in STANDARD}
        keys = [*standard, *sorted(key for key in known if key not in covered and key not in standard)]
        chosen = self._chosen or tuple(column.id for column in self.table.columns)
        self.app.push_screen(ChooseColumns(keys, chosen, self._example, self._choose_columns))

    def _example(self, id_: str) -> str:
        here, column = self.here, column_of(id_)
        return value_words(column.key, value_of(here, column.key)) if here is not None and column.key else ""

    def _choose_columns(self, chosen: tuple[str, ...]) -> None:
        self._chosen = chosen
        self.table.show_columns(chosen)
        self.mark_order()
        self.keep()
