"""A table of images (`data.dataset = "table"`): paths and classes, a row an image, parts and groups."""

from __future__ import annotations

import itertools
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from workbench.dataset.catalogue import Part, shuffled_ranks
from workbench.dataset.folder_layout import Role, files_below, role_of
from workbench.dataset.kept_catalogue import Sources
from workbench.dataset.listing import ListedImage, Listing, image_id, is_image, readable, refuse_two_spellings
from workbench.dataset.reader import ListingReader, add_reader
from workbench.dataset.table_columns import OtherColumns, TableColumns, columns_of
from workbench.dataset.table_file import ENDINGS, TableFile, open_table
from workbench.labels.journal import NO_CLASS, NO_CLASSES, UNUSABLE, Journal, is_journal
from workbench.labels.journal import read as read_journal
from workbench.recipe.data import Data
from workbench.support.clean import as_word, clean
from workbench.support.errors import UserError
from workbench.support.progress import Progress

_ENOUGH = 1000
"""Rows that are all wrong in one way; the others are not read then."""
_MOST_FURTHER = 50
_METADATA = "metadata"
"""What Hugging Face calls the table beside images."""
_NO_CLASSES = frozenset({"nan", "none", "null", "na", "n/a", "?", "unlabelled", "unlabeled"})


@dataclass(frozen=True, slots=True)
class _Source:
    """Where rows come from."""

    name: str
    """The file's, cleaned."""
    word: str
    """What a row is called there: `line`; empty of what has none."""


class _Entry(NamedTuple):
    """A row, with its columns told apart. A tuple: there may be a million."""

    source: _Source
    line: int
    path: str
    """As it is written."""
    file: str
    """Where that lies, absolute."""
    label: str | None
    role: Role | None
    group: str

    @property
    def place(self) -> str:
        """`labels.csv, line 3`."""
        return f"{self.source.name}, {self.line_words}" if self.source.word else self.source.name

    @property
    def line_words(self) -> str:
        """`line 3`."""
        return f"{self.source.word} {self.line:,}"


def find_table(root: Path) -> Path:
    """The table that `data.root` means: itself, or the one in the folder that it names.

    In a folder a Hugging Face `metadata.csv` or `.jsonl` comes first, then `labels.csv`, else there must be
    one table alone. A folder that has tables in `train/` and `test/` stands for these.

    Raises:
        UserError: there is none, or more than one that may be meant.
    """
    if not os.path.isdir(root):  # noqa: PTH112 (false, not an error, for a name that no file can have)
        if not os.path.lexists(root):
            raise UserError(
                "no such file",
                where=f"data.root: {clean(root)}",
                hint="set data.root to the table, or to the folder that it lies in",
            )
        return root
    found = _tables_in(root)
    if len(found) == 1:
        return found[0]
    if found:
        named = ", ".join(clean(path.name, 80) for path in found[:5])
        raise UserError(
            f"{len(found)} tables: {named}{', …' if len(found) > 5 else ''}",
            where=f"data.root: {clean(root)}",
            hint=f"name the one that is meant: data.root = {clean(found[0])}",
        )
    if tables_of_parts(root):
        return root
    raise UserError(
        "no table in this folder",
        where=f"data.root: {clean(root)}",
        allowed="a file ending in " + " ".join(ENDINGS),
        hint='class sub-folders are data.dataset = "folder"',
    )


def tables_of_parts(root: Path) -> list[tuple[Path, Role]]:
    """(table, part) of the sub-folders of a Hugging Face image folder that have a `metadata` table each."""
    found = []
    for entry in sorted(root.iterdir()):
        role = role_of(entry.name) if entry.is_dir() else None
        tables = [path for path in _tables_in(entry) if path.stem == _METADATA] if role is not None else []
        found += [(path, role) for path in tables[:1] if role is not None]
    return found


def list_table(table: Path, data: Data) -> Listing:
    """Every image that a table names, without opening one; rows without a class are the pool.

    A journal of labels (`petbench label`) is read as one: what was said last holds, and the folder's other
    images are the pool, too.

    Paths count from the table's folder. An image's id is its path below that folder, or below the folder that
    holds all of them where some lie elsewhere.

    Raises:
        UserError: a column that is not there or may be one of several; files that are missing; an image in
            two rows; fewer than two classes; parts that are not clear, or that cut through a group.
    """
    tables: list[tuple[Path, Role | None]] = [(table, None)]
    if table.is_dir():
        tables = list(tables_of_parts(table))
    entries: list[_Entry] = []
    understood: list[str] = []
    cautions: list[str] = []
    seen: dict[str, _Entry] = {}
    for file, role in tables:
        if role is None and (journal := _journal(file, data)) is not None:
            paths = tuple(label_paths(journal.path.parent))
            rows, words = _labelled_folder(journal, paths)
            entries, understood = [*entries, *rows], [*understood, *words]
            cautions += _of_picked_labels(journal, paths)
            continue
        rows, columns = _entries(file, role, data, seen)
        entries += rows
        understood.append(_words(file.relative_to(table) if table.is_dir() else Path(file.name), columns))
    try:
        _refuse_classes(entries, table)
    except UserError as error:
        if any(role is None and _is_journal(file, data) for file, role in tables):
            error.hint = f"petbench label {as_word(table.parent)} goes on labelling, a group at a stroke"
        raise
    _refuse_unclear(entries, data, table)
    folders = {os.path.dirname(entry.file) for entry in entries}  # noqa: PTH120 (of a million)
    root = Path(os.path.commonpath([table if table.is_dir() else table.parent, *folders]))
    test_is_labelled = any(entry.role == "test" and entry.label is not None for entry in entries)
    images: list[ListedImage] = []
    to_predict = 0
    for entry in entries:
        part = _part(entry, data, has_test=test_is_labelled)
        if part == "test" and entry.label is None:
            to_predict += 1
            continue
        label = None if part == "unlabelled" else entry.label
        path = Path(entry.file)
        images.append(ListedImage(image_id(path, root), path, label, part, entry.group))
    if to_predict:
        understood.append(f"{to_predict:,} test images have no class: they are left for petbench predict")
    images.sort(key=lambda image: image.id)
    understood += _doubtful(images)
    listing = Listing(root, tuple(images), understood=tuple(understood), cautions=tuple(cautions))
    _check(listing, table)
    return listing


def labels_file(data: Data) -> Path | None:
    """The journal of labels that a recipe's data set is; None where it is another, or not there."""
    if data.dataset != "table" or not data.root:
        return None
    try:
        file = find_table(Path(data.root).expanduser().absolute())
        return file if _is_journal(file, data) else None
    except (UserError, OSError):
        return None


def _is_journal(file: Path, data: Data) -> bool:
    """Whether a table is a journal of labels; not one whose columns a recipe names."""
    named = (data.path_column, data.label_column, data.split_column, data.group_column, data.path_pattern)
    return not any(named) and file.suffix.lower() == ".csv" and is_journal(open_table(file).columns)


def _journal(file: Path, data: Data) -> Journal | None:
    return read_journal(file) if _is_journal(file, data) else None


def _labelled_folder(journal: Journal, paths: Iterable[str]) -> tuple[list[_Entry], list[str]]:
    """The images of a folder that a person labels, with the class that holds or for the pool; what was read.

    Every image below the journal's folder is one, whether or not anything was said of it. One that is not
    usable is left out, and so is one that is not there any more.

    Args:
        paths: `label_paths` of the folder.
    """
    folder = journal.path.parent
    held = {path: row.class_name for path, row in journal.current.items()}
    unsaid = [path for path in paths if path not in held]
    entries: list[_Entry] = []
    gone: list[str] = []
    for name, said in (*held.items(), *((path, NO_CLASS) for path in unsaid)):
        if said == UNUSABLE:
            continue
        file = _file(os.fspath(folder), name)
        if file is None:
            gone.append(name)
            continue
        source = _Source(clean(name, 80), "")
        entries.append(_Entry(source, 0, name, file, None if said in NO_CLASSES else said, None, ""))
    labelled = sum(entry.label is not None for entry in entries)
    words = [
        f"{clean(journal.path.name, 80)}: {labelled:,} images labelled by hand, "
        f"{len(entries) - labelled:,} not yet, {len(journal.unusable):,} not usable"
    ]
    if gone:
        words.append(f"{len(gone):,} images of it are not there any more, such as {clean(gone[0], 80)}")
    return entries, [*words, *journal.remarks]


def _of_picked_labels(journal: Journal, paths: Sequence[str]) -> Iterator[str]:
    """What labels that were not drawn at random make of all figures."""
    labels = journal.labels.keys() & set(paths)
    if picked := len(labels) - len(random_sample(journal, paths)):
        yield (
            f"{picked:,} of {len(labels):,} labels were picked, in groups that look alike or where the model "
            "was in doubt, not drawn at random: accuracy on such images is not that on new pictures"
        )


def label_paths(folder: Path) -> Iterator[str]:
    """The path below a folder, with forward slashes, of every image in it that can be labelled, in order.

    Raises:
        UserError: a folder cannot be read.
    """
    for path in files_below(folder):
        if is_image(path) and not path.is_dir():
            name = path.relative_to(folder).as_posix()
            if readable(name) == name.replace("\\", "\\\\"):  # else no table can hold it
                yield name


def drawing_order(paths: Sequence[str]) -> tuple[str, ...]:
    """Images to label in the order in which random draws are made; their names alone decide.

    Whoever draws, the screen or the engine, draws the first that has no label: up to it all labels are those
    of a simple random sample.
    """
    return tuple(
        path for _, path in sorted(zip(shuffled_ranks(paths, "label", 0).tolist(), paths, strict=True))
    )


def random_sample(journal: Journal, paths: Sequence[str]) -> list[str]:
    """Labelled images that are a simple random sample of all, in drawing order.

    Up to the first that nobody has said anything of, it does not matter why any of them was labelled.
    """
    said = {path for path, row in journal.current.items() if row.class_name != NO_CLASS}
    labels = journal.labels
    return [path for path in itertools.takewhile(said.__contains__, drawing_order(paths)) if path in labels]


def further_columns(data: Data, root: Path, ids: Set[str]) -> dict[str, dict[str, str | None]]:
    """What a table says of images beyond path, class and part: image id -> column -> field, None empty.

    A column that holds lists or objects is passed over, and so are those after the first 50. All images have
    the same columns.

    Args:
        root: of the listing, which ids count from.
        ids: of the images that are asked about.

    Raises:
        UserError: the table is no longer as `list_table` needs it.
    """
    table = find_table(Path(data.root).expanduser().absolute())
    files = [file for file, _ in tables_of_parts(table)] if table.is_dir() else [table]
    found: dict[str, dict[str, str | None]] = {}
    names: dict[str, None] = {}
    for file in files:
        opened = open_table(file)
        columns = columns_of(opened, data)
        known = {columns.path, columns.label, columns.split, columns.group}
        further = [name for name in dict.fromkeys(opened.columns) if name and name not in known]
        further = further[:_MOST_FURTHER]
        if not _hold_fields(opened, further):
            further = [name for name in further if _hold_fields(opened, [name])]
        names |= dict.fromkeys(further)
        pattern = data.path_pattern or "{}"
        for row in opened.rows([columns.path, *further]):
            place = _file(os.fspath(file.parent), _path_text(pattern, row.cells[0] or ""))
            if place is None or not Path(place).is_relative_to(root):
                continue
            if (id_ := image_id(Path(place), root)) in ids:
                found[id_] = dict(zip(further, row.cells[1:], strict=True))
    return {id_: {name: fields.get(name) for name in names} for id_, fields in found.items()}


def _hold_fields(table: TableFile, columns: Sequence[str]) -> bool:
    """Whether every row has text, a number or nothing in each of these."""
    try:
        return all(True for _ in table.rows(columns))
    except UserError:
        return False


def _entries(
    file: Path, role: Role | None, data: Data, seen: dict[str, _Entry]
) -> tuple[list[_Entry], TableColumns]:
    """The rows of a file, all of which are of a part if its folder says so, each with the file that it names.

    A table of a million rows that is wrong all over is refused after the first `_ENOUGH`.

    Args:
        seen: the first row of each image so far; filled up.

    Raises:
        UserError: a row that is wrong, files that are not there, an image in two rows.
    """
    table = open_table(file)
    columns = columns_of(table, data)
    source = _Source(clean(file.name, 80), "row" if file.suffix.lower() == ".parquet" else "line")
    places = [None if name is None else columns.named.index(name) for name in (columns.split, columns.group)]
    folder, pattern = os.fspath(file.parent), data.path_pattern or "{}"
    roles: dict[str, Role] = {}
    found: list[_Entry] = []
    missing: list[_Entry] = []
    twice: list[tuple[_Entry, _Entry]] = []
    for row in table.rows(columns.named):
        path, label, *_ = row.cells
        if path is None:
            place = f"{source.name}, {source.word} {row.line:,}"
            raise UserError(f"no path in {clean(columns.path)}", where=place)
        said, group = (None if place is None else row.cells[place] for place in places)
        if said is not None and said not in roles:
            roles[said] = _role(said, columns.split or "", f"{source.name}, {source.word} {row.line:,}")
        named = _file(folder, _path_text(pattern, path))
        entry = _Entry(
            source,
            row.line,
            path,
            named or "",
            None if label is None else sys.intern(label),
            role if said is None else roles[said],
            group or "",
        )
        if named is None:
            missing.append(entry)
            if len(missing) == _ENOUGH and not found:
                break
            continue
        found.append(entry)
        if (first := seen.setdefault(named, entry)) is not entry:
            twice.append((first, entry))
            if len(twice) == _ENOUGH:
                break
    if missing:
        raise _missing(file, missing, len(found) + len(missing), columns, data)
    if twice:
        raise _two_rows(twice)
    if not found:
        raise UserError("a table without rows", where=clean(file))
    return found, columns


def _role(said: str, column: str, place: str) -> Role:
    role = role_of(said)
    if role is None or role == "unclear":
        raise UserError(
            f"{clean(column, 80)} is {clean(said, 80)!r}: a part, but which?"
            if role == "unclear"
            else f"{clean(column, 80)} is {clean(said, 80)!r}, which is no part",
            where=place,
            allowed="train, validation, test, unlabelled, or nothing",
            hint='data.split_column = "" leaves the column alone',
        )
    return role


def _part(entry: _Entry, data: Data, *, has_test: bool) -> Part | None:
    """What a row's image is for; None: a test part may be held out of it."""
    training: Part | None = "train" if has_test else None
    match entry.role:
        case "test":
            return "test"
        case "validation":
            if entry.label is None:
                return "unlabelled"
            return "validation" if data.validation == "own" else training
        case "pool":
            return "unlabelled"
        case _:
            return "unlabelled" if entry.label is None else training


def _path_text(pattern: str, said: str) -> str:
    """What a pattern makes of a field: `{}` is all of it, `{name}` what stands behind its last separator."""
    return pattern.replace("{name}", last_part(said)) if "{name}" in pattern else pattern.replace("{}", said)


def last_part(said: str) -> str:
    """The file's name in a path of whatever system: of `C:\\photos\\a.jpg` it is `a.jpg`."""
    return said.replace("\\", "/").rpartition("/")[2]


def _file(folder: str, written: str) -> str | None:
    """The file that a table's text names; a table written on Windows has backslashes."""
    for text in (written, written.replace("\\", "/")) if "\\" in written else (written,):
        named = os.path.expanduser(text) if text.startswith("~/") else text  # noqa: PTH111
        path = os.path.normpath(os.path.join(folder, named))  # noqa: PTH118 (pathlib takes ten times as long)
        if os.path.lexists(path):
            return path
    return None


def _missing(file: Path, missing: list[_Entry], rows: int, columns: TableColumns, data: Data) -> OtherColumns:
    first = missing[0]
    shown = ", ".join(f"{clean(entry.path, 80)} ({entry.line_words})" for entry in missing[:3])
    more = ", …" if len(missing) > 3 else ""
    if "://" in first.path:
        hint = "these are addresses: download the images, and name the files"
    elif len(missing) < rows:
        hint = "put the files there, or take their rows out of the table"
    else:
        hint = f"paths count from {clean(file.parent)}; "
        if data.path_pattern is None:
            ending = "" if Path(first.path).suffix else ".jpg"
            elsewhere = first.path.startswith("/") or "\\" in first.path  # a path of another machine
            field = "{name}" if elsewhere else "{}"
            hint += f"data.path_pattern makes them of what the table has: images/{field}{ending}"
        else:
            hint += f"data.path_pattern is {clean(data.path_pattern, 80)}"
    of = f"the first {rows:,}" if len(missing) == rows == _ENOUGH else f"{rows:,}"
    return OtherColumns(
        f"{len(missing):,} of {of} files in {clean(columns.path, 80)} are not there: {shown}{more}",
        where=clean(file),
        hint=hint,
    )


def _two_rows(twice: Sequence[tuple[_Entry, _Entry]]) -> UserError:
    """The message about images that are there twice: (first row, other row) of each."""
    first, second = next((pair for pair in twice if pair[0].label != pair[1].label), twice[0])
    labels = ""
    if first.label != second.label:
        labels = " and ".join(clean(label or "no class", 80) for label in (first.label, second.label))
        labels = f": {labels}"
    least = "at least " if len(twice) == _ENOUGH else ""
    more = f" (and {least}{len(twice) - 1:,} more rows so)" if len(twice) > 1 else ""
    return UserError(
        f"{clean(first.path, 80)} is there twice, also in {second.line_words}{labels}{more}",
        where=first.place,
        hint="leave each image one row; of what shows two classes, the one that it shall be learned as",
    )


def _refuse_unclear(entries: Sequence[_Entry], data: Data, table: Path) -> None:
    """Refuse validation rows that nobody has said the use of, and groups that lie in two parts."""
    validates = [entry for entry in entries if entry.role == "validation" and entry.label is not None]
    if validates and data.validation is None:
        raise UserError(
            f"{len(validates):,} rows are for validation, such as {validates[0].place}: are they to "
            "validate, or to train?",
            where=clean(table),
            allowed='data.validation = "own": they validate; "train": they join training',
        )
    if not validates and data.validation is not None:
        raise UserError(
            f'data.validation = "{data.validation}", but no row is for validation',
            where=clean(table),
            hint="leave data.validation out: a share of the training part then validates",
        )
    parts: dict[str, tuple[str, _Entry]] = {}
    for entry in entries:
        role = "train" if entry.role in (None, "pool") else str(entry.role)
        if role == "validation" and data.validation != "own":
            role = "train"
        if not entry.group:
            continue
        other, first = parts.setdefault(entry.group, (role, entry))
        if other != role:
            raise UserError(
                f"the group {clean(entry.group, 80)!r} is cut in two: {first.place} is for {other}, "
                f"{entry.place} for {role}",
                where=clean(table),
                hint='keep each group in one part; or data.group_column = "" if it says something else',
            )


def _doubtful(images: Sequence[ListedImage]) -> Iterator[str]:
    """Classes that may be no classes."""
    counts = Counter(image.class_name for image in images if image.class_name is not None)
    for name, count in sorted(counts.items()):
        if name.casefold() in _NO_CLASSES:
            yield (
                f"{clean(name, 40)!r} is a class, of {count:,} images: leave the field empty where nobody "
                "has said what an image shows"
            )


def _refuse_classes(entries: Sequence[_Entry], table: Path) -> None:
    """Refuse rows that tell no classes, before anything is made of them."""
    where = clean(table)
    counts = Counter(entry.label for entry in entries if entry.label is not None and entry.role != "pool")
    if not counts:
        raise UserError(
            f"none of the {len(entries):,} rows has a class",
            where=where,
            hint="fill in a few of each class, or name another column with data.label_column",
        )
    first, labelled = min(counts), counts.total()
    if len(counts) < 2:
        raise UserError(f"only one class, {clean(first, 80)}; a classifier needs two", where=where)
    if len(counts) == labelled > 2:
        raise UserError(
            f"each of the {labelled:,} labelled images has a class of its own, such as {clean(first, 80)!r}",
            where=where,
            hint="data.label_column names the column of classes",
        )


def _check(listing: Listing, table: Path) -> None:
    where, classes = clean(table), listing.classes
    labelled = [image for image in listing.images if image.class_name is not None]
    refuse_two_spellings(listing)
    trained = {image.class_name for image in labelled if image.part in ("train", None)}
    untrained = [clean(name, 80) for name in classes if name not in trained]
    if untrained:
        more = f" and {len(untrained) - 5} more" if len(untrained) > 5 else ""
        raise UserError(
            f"classes without a training image: {', '.join(untrained[:5])}{more}",
            where=where,
            hint="give them rows to train on, or take their rows out",
        )


def _words(file: Path, columns: TableColumns) -> str:
    """`labels.csv: images from path, classes from label, parts from split`."""
    told = [f"images from {clean(columns.path, 40)}", f"classes from {clean(columns.label, 40)}"]
    told += [f"parts from {clean(columns.split, 40)}"] if columns.split else []
    told += [f"groups from {clean(columns.group, 40)}"] if columns.group else []
    return f"{clean(file, 80)}: {', '.join(told)}"


def _tables_in(folder: Path) -> list[Path]:
    """The tables of a folder, or the one of a name that means the data set."""
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()
    ]
    for name in (_METADATA, "labels"):
        if named := [path for path in found if path.stem.casefold() == name]:
            return named
    return found


class TableReader(ListingReader):
    """A table of images."""

    def locate(self, data: Data, *, data_home: Path, reporter: Progress) -> Path:
        """As `find_table`."""
        return find_table(Path(data.root).expanduser().absolute())

    def list(self, root: Path, data: Data) -> Listing:
        """As `list_table`."""
        return list_table(root, data)

    def sources(self, root: Path, data: Data) -> Sources | None:
        """The tables; of a journal its folder, too."""
        files = [file for file, _ in tables_of_parts(root)] if root.is_dir() else [root]
        if any(_is_journal(file, data) for file in files):
            return Sources((root.parent,), tuple(files))
        return Sources((root,) if root.is_dir() else (), tuple(files))


add_reader("table", TableReader())
