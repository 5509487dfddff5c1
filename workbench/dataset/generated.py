"""What lies beside generated images: how each was made, what was refused, and what the pipeline had seen.

`generated.toml` holds what all images of a folder have in common, `generated.jsonl` a line an image. Written
by `petbench generate`, read by it when it goes on, and by a run that trains on the folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

import tomli_w

from workbench.support.atomic import atomic_write
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.records import record_from
from workbench.support.regular_file import UnreadableFile, open_to_append, parse_json, read_bytes
from workbench.support.toml_text import read_toml

SETTINGS, RECORDS = "generated.toml", "generated.jsonl"
FILES = frozenset({SETTINGS, RECORDS})
"""They lie beside the class sub-folders and are no strays."""
ASIDE = ".generate"
"""The hidden folder beside the images: the lock, what tuning has learned."""

_MOST_SETTINGS = 16 * 2**20
_MOST_RECORDS = 2 * 2**30
_PREFACE = """\
# How petbench generate made the images of this folder; generated.jsonl tells it of each.
# A recipe reads them with
#   [data]
#   extra_labelled = "PATH OF THIS FOLDER"
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """All that the images of a folder depend on; going on with other settings is refused."""

    data: str
    """Fingerprint of the data set, without extra images."""
    split: str
    """Fingerprint of the division whose validation and test images were compared with."""
    target: str
    model: str
    """As typed: a hub's name or a folder."""
    revision: str
    """The hub's commit; "" of a folder."""
    pipeline: str
    """The class of diffusers."""
    weights: str
    """SHA-256 of all tensors and of the scheduler's settings, at the precision."""
    prompt: str
    """The template."""
    negative_prompt: str
    guidance: float
    steps: int
    size: int
    """Pixels a side."""
    seed: int
    batch: int
    precision: str
    similarity: float
    """Cosine of features from which on an image is a near copy; 0: by look alone."""
    tune_steps: int = 0
    tune_rank: int = 0
    tune_rate: float = 0.0
    lora: str = ""
    """SHA-256 of what tuning has learned; "" without tuning, or before its end."""
    tuned_on: tuple[str, ...] = ()
    """Ids of the labelled images that it learned from."""
    made_with: str = ""
    """Versions of the packages, which may change last bits; not compared, and those of the last call."""


@dataclass(frozen=True, slots=True)
class Painted:
    """One image that a pipeline painted, kept or refused."""

    path: str
    """Below the folder; "" of a refused one."""
    class_name: str
    index: int
    """It counts a class's images, refused ones too."""
    seed: int
    """Of the image's own generator, on the CPU: `torch.Generator().manual_seed(seed)`."""
    prompt: str
    negative_prompt: str
    guidance: float
    steps: int
    model: str
    revision: str
    weights: str
    lora: str
    sha256: str
    """Of the file; "" of a refused one."""
    refused: str = ""
    """Why it was not kept."""
    twin: str = ""
    """The validation or test image that it is a near copy of."""


def read_settings(folder: Path) -> Settings | None:
    """What made a folder's images; None where nothing says so.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / SETTINGS
    try:
        return record_from(read_toml(path, max_bytes=_MOST_SETTINGS), Settings)
    except FileNotFoundError:
        return None
    except (UnreadableFile, ValueError) as error:
        what = error.reason if isinstance(error, UnreadableFile) else str(error)
        raise UserError(f"damaged: {clean(what, 200)}", where=clean(path), hint=_ANEW) from error


def write_settings(folder: Path, settings: Settings) -> None:
    """Replace a folder's settings, durably. Raises: OSError."""
    atomic_write(folder / SETTINGS, _PREFACE + tomli_w.dumps(asdict(settings)))


def refuse_others(folder: Path, wanted: Mapping[str, object]) -> None:
    """See that a folder's images, if it has any, were made with these settings.

    Raises:
        UserError: names the first that differs; or there are class sub-folders that nobody knows about.
    """
    there = read_settings(folder)
    if there is None:
        _refuse_strangers(folder)
        return
    for key, value in wanted.items():
        found = getattr(there, key)
        if key != "made_with" and found != value and not (key == "lora" and not found):
            raise UserError(
                f"its images were made with {key} = {_shown(found)}, and now it is {_shown(value)}",
                where=clean(folder / SETTINGS),
                hint="go on with the same settings, or name another folder with --out",
            )


def read_records(folder: Path) -> list[Painted]:
    """Every image that was painted, in order; a line that a kill tore is passed over.

    Raises:
        UserError: a line is damaged.
    """
    path = folder / RECORDS
    try:
        lines = read_bytes(path, _MOST_RECORDS).split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    except UnreadableFile as error:
        raise UserError(f"cannot be read: {clean(error.reason)}", where=clean(path)) from error
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            records.append(record_from(parse_json(line), Painted))
        except ValueError as error:
            if not _is_torn(line):
                raise UserError(
                    f"damaged: {clean(error, 200)}",
                    where=f"{clean(path)}:{number}",
                    hint="take the line out: its image is then made again",
                ) from error
    return records


class RecordWriter:
    """Appends records, durably: an image is known as soon as it lies in its place.

    Raises:
        OSError: the disk is full, or the folder is not writable.
    """

    def __init__(self, folder: Path) -> None:
        self._file = open_to_append(folder / RECORDS)
        size = os.fstat(self._file).st_size
        self._torn = bool(size) and os.pread(self._file, 1, size - 1) != b"\n"

    def append(self, record: Painted) -> None:
        """Write one line; what a kill left of the last one is closed off first."""
        line = json.dumps(asdict(record), separators=(",", ":"), ensure_ascii=True).encode() + b"\n"
        left = b"\n" + line if self._torn else line
        self._torn = True
        while left:
            left = left[os.write(self._file, left) :]
        os.fsync(self._file)
        self._torn = False

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._file)


def measured_and_tuned_on(named: str, measuring: Sequence[str]) -> list[str]:
    """Of the images that measure a run those that the pipeline behind its extra images was tuned on.

    Args:
        named: `data.extra_labelled`.
        measuring: ids of its validation and test images.
    """
    settings = read_settings(Path(named).expanduser()) if named else None
    seen = set(settings.tuned_on) if settings else set()
    return [id_ for id_ in measuring if id_ in seen]


_ANEW = "name another folder with --out, or remove this one and make its images again"


def _is_torn(line: bytes) -> bool:
    """A line that a kill cut short, and that the next writer closed off."""
    return not line.rstrip().endswith(b"}")


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"{len(value)} images"
    return clean(json.dumps(value) if isinstance(value, str) else f"{value:g}", 80)


def _refuse_strangers(folder: Path) -> None:
    strangers = (
        [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
    )
    if strangers:
        raise UserError(
            f"{clean(strangers[0].name, 80)} lies in it, and no {SETTINGS} says that generate made it",
            where=f"--out {clean(folder)}",
            hint="name a folder that is empty or not there yet",
        )
