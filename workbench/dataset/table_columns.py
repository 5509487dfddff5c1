"""Which column of a table is what: images, classes, parts, groups, by the usual names or as a recipe says."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from workbench.dataset.listing import is_image
from workbench.dataset.table_file import TableFile
from workbench.recipe.data import Data
from workbench.support.clean import clean
from workbench.support.errors import UserError, nearest

USUAL = {
    "path_column": "path file_name filename file filepath file_path image image_path img img_path imagepath "
    "image_name image_file image_id",
    "label_column": "label class class_name classname category target labels species breed label_name "
    "class_label y",
    "split_column": "split part subset partition",
    "group_column": "group group_id patient patient_id burst burst_id video video_id",
}
"""Columns by the knob that names another: usual names, in any case; the first that a table has is taken."""
_NEEDED = ("path_column", "label_column")


class OtherColumns(UserError):
    """A table whose columns, or their paths, may be others than they were taken for."""


@dataclass(frozen=True, slots=True)
class TableColumns:
    """Which column is what."""

    path: str
    label: str
    split: str | None
    group: str | None

    @property
    def named(self) -> list[str]:
        return [name for name in (self.path, self.label, self.split, self.group) if name is not None]


def columns_of(table: TableFile, data: Data) -> TableColumns:
    """Which column is what: as [data] says, else by the usual names."""
    found: dict[str, str | None] = {}
    known = {name.casefold(): name for name in table.columns}
    for knob, words in USUAL.items():
        usual = words.split()
        given = getattr(data, knob)
        if given:
            name = given if given in table.columns else known.get(given.casefold())
            if name is None:
                raise _no_column(table, given, f"data.{knob}")
        elif given is None:
            name = next((known[word] for word in usual if word in known), None)
            other = next((known[word] for word in usual if word in known and known[word] != name), None)
            if knob == "label_column" and name is not None and other is not None:
                raise UserError(
                    f"two columns may hold the class: {clean(name, 80)} and {clean(other, 80)}",
                    where=clean(table.path),
                    hint=f'data.label_column = "{clean(name, 80)}" says which',
                )
        else:
            name = None
        if name is None and knob in _NEEDED:
            raise _no_usual_column(table, knob)
        found[knob] = name
    chosen = [name for name in found.values() if name is not None]
    twice = next((name for name in chosen if chosen.count(name) > 1 or table.columns.count(name) > 1), None)
    if twice is not None:
        what = "two columns are called" if table.columns.count(twice) > 1 else "one column is two things:"
        raise UserError(f"{what} {clean(twice, 80)}", where=clean(table.path))
    return TableColumns(
        str(found["path_column"]), str(found["label_column"]), found["split_column"], found["group_column"]
    )


def _no_column(table: TableFile, name: str, where: str) -> UserError:
    near = nearest(name, table.columns)
    return UserError(
        f"{clean(table.path.name, 80)} has no column {clean(name, 80)!r}",
        where=where,
        allowed=[clean(column, 40) for column in table.columns[:20]],
        hint=f"did you mean {clean(near, 80)}?" if near else "",
    )


def _columns_of_classes(table: TableFile, most: int = 50) -> list[str]:
    """Columns of which exactly one is 1 in each of the first rows, and the others are 0."""
    rows = [row.cells for row in islice(table.rows(table.columns), most)]
    ones = {"1": 1, "1.0": 1, "0": 0, "0.0": 0, "true": 1, "false": 0}
    found = [
        place
        for place in range(len(table.columns))
        if rows and all((row[place] or "").casefold() in ones for row in rows)
    ]
    whole = all(sum(ones[(row[place] or "").casefold()] for place in found) == 1 for row in rows)
    return [table.columns[place] for place in found] if len(found) > 1 and whole else []


def _no_usual_column(table: TableFile, knob: str) -> OtherColumns:
    if any(is_image(Path(name)) for name in table.columns):
        return OtherColumns(
            f"the first line is a row, not the columns' names: {clean(', '.join(table.columns), 120)}",
            where=clean(table.path),
            hint="put a line such as path,label above it",
        )
    if knob == "label_column" and (classes := _columns_of_classes(table)):
        return OtherColumns(
            f"a column a class, with 0 or 1 in it: {clean(', '.join(classes[:5]), 120)}"
            f"{', …' if len(classes) > 5 else ''}",
            where=clean(table.path),
            hint="make one column of them that names the class, such as label",
        )
    what = "the image files" if knob == "path_column" else "the classes"
    columns = ", ".join(clean(column, 40) for column in table.columns[:20])
    return OtherColumns(
        f"no column is called as one of {what} mostly is; there are {columns}",
        where=clean(table.path),
        hint=f'data.{knob} = "…" names it',
    )
