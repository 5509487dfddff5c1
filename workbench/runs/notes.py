"""`notes.toml`: what a person says of a run: tags, a note, and that it is put away."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tomli_w

from workbench.runs.layout import RunDirectory
from workbench.support.atomic import atomic_write, sweep_temporaries
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.locks import locked
from workbench.support.records import plain, validated
from workbench.support.regular_file import UnreadableFile
from workbench.support.toml_text import read_toml

_TAG_LIMIT = 60
_NOTE_LIMIT = 10_000
_LIMIT_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Notes:
    """Kept as typed; cleaned only where they are shown."""

    tags: tuple[str, ...] = ()
    note: str = ""
    archived: bool = False


def read_notes(run: RunDirectory) -> Notes:
    """The run's notes; empty where there are none or the file is damaged."""
    try:
        return load_notes(run)
    except UnreadableFile:
        return Notes()


def load_notes(run: RunDirectory) -> Notes:
    """The run's notes; empty where there are none. Raises: UnreadableFile, where the file is damaged."""
    try:
        values = read_toml(run.notes, max_bytes=_LIMIT_BYTES)
    except FileNotFoundError:
        return Notes()
    try:
        return validated(Notes, values)
    except ValueError as error:
        raise UnreadableFile(run.notes, str(error)) from error


def change_notes(
    run: RunDirectory,
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    note: str | None = None,
    archived: bool | None = None,
) -> Notes:
    """Change what is given and keep the rest; two front ends at once lose nothing.

    Raises:
        UserError: an empty or long tag or note, a tag to remove that is not there, or a damaged file, which
        is
            left as it is.
    """
    for tag in add:
        if not tag.strip() or len(tag) > _TAG_LIMIT:
            raise UserError(f"no tag: '{clean(tag, 80)}'", allowed=f"1 to {_TAG_LIMIT} characters")
    if note is not None and len(note) > _NOTE_LIMIT:
        raise UserError(f"a note of {len(note)} characters", allowed=f"at most {_NOTE_LIMIT}")
    try:
        with locked(run.lock):
            sweep_temporaries(run.notes)
            old = _unless_damaged(run)
            new = _changed(old, run, add, remove, note, archived)
            atomic_write(run.notes, _edited(run.notes, old, new))
    except UnicodeEncodeError as error:
        raise UserError("tags and notes are Unicode text; these bytes are none", where=run.id) from error
    except FileNotFoundError as error:
        raise UserError("the run is not there any more", where=str(run.path)) from error
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror or error}", where=str(run.notes)) from error
    return new


def _changed(
    old: Notes,
    run: RunDirectory,
    add: Sequence[str],
    remove: Sequence[str],
    note: str | None,
    archived: bool | None,
) -> Notes:
    for tag in remove:
        if tag not in old.tags:
            has = ", ".join(clean(t) for t in old.tags) or "none given by hand"
            raise UserError(f"no tag '{clean(tag)}' to remove", where=run.id, allowed=has)
    return replace(
        old,
        tags=tuple(tag for tag in dict.fromkeys((*old.tags, *add)) if tag not in remove),
        note=old.note if note is None else note,
        archived=old.archived if archived is None else archived,
    )


def _unless_damaged(run: RunDirectory) -> Notes:
    try:
        return load_notes(run)
    except UnreadableFile as error:
        raise UserError(
            f"damaged notes: {clean(error.reason, 200)}", where=clean(run.notes), hint="mend or remove it"
        ) from error


def _edited(path: Path, old: Notes, new: Notes) -> str:
    """The file's text with what changed; what else a person wrote there, comments too, stays."""
    before, values = plain(old), plain(new)
    if not path.exists():
        return tomli_w.dumps(values)
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    text = path.read_text("utf-8")
    expected = {**tomllib.loads(text), **values}
    with contextlib.suppress(TOMLKitError, ValueError, TypeError):
        document = tomlkit.parse(text)
        for key, value in values.items():
            if key not in document or value != before[key]:
                document[key] = value
        edited = tomlkit.dumps(document)
        if tomllib.loads(edited) == expected:
            return edited
    return tomli_w.dumps(expected)  # tomlkit's text is not what was meant: values before comments
