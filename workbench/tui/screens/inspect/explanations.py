"""What explains a network's word on an image: its nearest labelled images, its saliency map; kept on disk.

Both need torch, so a process of petbench's own finds them; the same way the labels are judged.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.runs.layout import RunDirectory
from workbench.support.caches import read_json_cache, write_json_cache
from workbench.support.clean import clean
from workbench.support.paths import cache_home
from workbench.tui.helper import HelperResult

Runner = Callable[..., Awaitable[HelperResult]]
"""Runs `petbench ARGUMENTS…` in a process of its own: `helper.run_petbench`."""

_NEIGHBOURS, _SALIENCY = "neighbours", "saliency"
"""petbench's commands, and the folders of their answers."""
_COUNT = 6
"""Neighbours of an image."""
_UNREADABLE = "the image cannot be read"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A labelled training image that the network finds alike."""

    id: str
    label: str
    similarity: float
    """Cosine of the two images' features."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """What a network looked at, laid over the image."""

    picture: Path
    said: str
    """The class that it was asked about."""
    method: str
    """`grad-cam`, or `attention-rollout`, which is about no class."""


class HelperFailed(Exception):
    """A helper did not do its work; the message is what it said, for a person."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """The nearest labelled images as far as they are known."""

    neighbours: tuple[Neighbour, ...]
    words: str
    """What they are, or why there are none."""
    to_find: bool = False
    """Whether nobody has looked for them yet."""


@dataclass(frozen=True, slots=True)
class Saliency:
    """An image's saliency map as far as it is known."""

    picture: Path | None
    """The image with the map over it; None for the plain image."""
    words: str
    """What is seen there, or why it is the plain image."""
    to_draw: bool = False
    """Whether nobody has drawn it yet."""


class Explanations:
    """Asks helpers about the images of one run; remembers answers until its networks or the images change.

    Answers are kept on disk, failures until `forget_failures`.
    """

    def __init__(self, run: RunDirectory, data_home: Path, ask: Runner) -> None:
        self._run, self._data_home, self._ask = run, data_home, ask
        self._under_way: frozenset[str] = frozenset()
        """Images whose neighbours a helper is looking for."""
        self._failures: dict[tuple[str, str], str] = {}
        """(what, image) -> what the helper said."""
        self.of_data("")

    def of_data(self, look: str) -> None:
        """Answers are about the data set that looks so: `files.look_of`; of others nothing is known."""
        self._folder = cache_home() / "inspect" / _digest(str(self._run.path), *_networks(self._run), look)

    def forget_failures(self) -> None:
        """Ask again for what could not be found."""
        self._failures.clear()

    # Neighbours

    def nearest(self, image: str) -> Nearest:
        """What is known of an image's neighbours."""
        known = self._known_neighbours(image)
        if known is not None:
            words = "nearest labelled images" if known else "no labelled images to compare with"
            return Nearest(known, words)
        if failure := self._failures.get((_NEIGHBOURS, image)):
            return Nearest((), f"no neighbours: {failure}")
        return Nearest((), "nearest labelled images: computing…", image not in self._under_way)

    async def find_neighbours(self, images: Sequence[str]) -> None:
        """Find those of several images by one process, as far as nobody has; `nearest` has them then."""
        wanted = [image for image in images if self._known_neighbours(image) is None]
        self._under_way = frozenset(wanted)
        try:
            answers = await self._answers(_NEIGHBOURS, wanted, "--count", str(_COUNT)) if wanted else []
            for answer in answers:
                if isinstance(answer, dict) and _neighbours(answer) is not None:
                    write_json_cache(self._place(_NEIGHBOURS, str(answer.get("id"))), answer)
            missing = [image for image in wanted if self._known_neighbours(image) is None]
            self._failures.update({(_NEIGHBOURS, image): _UNREADABLE for image in missing})
        except HelperFailed as error:
            self._failures.update({(_NEIGHBOURS, image): str(error) for image in wanted})
        finally:
            self._under_way = frozenset()

    def _known_neighbours(self, image: str) -> tuple[Neighbour, ...] | None:
        return _neighbours(read_json_cache(self._place(_NEIGHBOURS, image)))

    # Saliency: Grad-CAM or attention roll-out

    def saliency(self, image: str, *, teacher: bool) -> Saliency:
        """What is known of an image's map, of the teacher or of the final model."""
        overlay = self._known_overlay(image, teacher)
        whose = "the teacher" if teacher else "the final model"
        if overlay is not None and overlay.method == "attention-rollout":
            words = f"what {whose} sees, and where its attention lies (roll-out)"
            return Saliency(overlay.picture, words)
        if overlay is not None:
            return Saliency(overlay.picture, f"what {whose} sees, and where it sees {clean(overlay.said)}")
        if failure := self._failures.get((_SALIENCY, image)):
            return Saliency(None, f"no saliency map: {failure.splitlines()[0]}")
        return Saliency(None, f"where {whose} looks: computing…", to_draw=True)

    async def draw_saliency(self, image: str, *, teacher: bool) -> None:
        """Have the map of an image drawn; `saliency` has it then."""
        place = self._overlay_place(image, teacher)
        out = place.with_suffix("")
        options = ["--out", str(out), *(["--teacher"] if teacher else [])]
        try:
            for answer in await self._answers(_SALIENCY, [image], *options):
                if isinstance(answer, dict) and isinstance(answer.get("overlay"), str):
                    picture = out / answer["overlay"]  # an absolute path stays what it is
                    write_json_cache(place, {**answer, "overlay": str(picture)})
            if self._known_overlay(image, teacher) is None:
                self._failures[_SALIENCY, image] = _UNREADABLE
        except HelperFailed as error:
            self._failures[_SALIENCY, image] = str(error)

    def _known_overlay(self, image: str, teacher: bool) -> Overlay | None:
        return _overlay(read_json_cache(self._overlay_place(image, teacher)))

    def _overlay_place(self, image: str, teacher: bool) -> Path:
        return self._place(f"{_SALIENCY}-teacher" if teacher else _SALIENCY, image)

    # Label issues

    async def judge_labels(self) -> None:
        """Judge the labels of the run's labelled images; what is found lies in the run's directory then.

        Raises:
            HelperFailed: what the process said.
        """
        await self._answers("label-issues", [])

    async def _answers(self, command: str, images: Sequence[str], *options: str) -> list[Any]:
        """What a command prints of each image. Raises: HelperFailed."""
        values = await asked_of(self._ask, command, self._run, self._data_home, *options, images=images)
        found = values.get("images", ())
        return list(found) if isinstance(found, list) else []

    def _place(self, kind: str, image: str) -> Path:
        return self._folder / kind / f"{_digest(image)}.sealed"


async def asked_of(
    ask: Runner,
    command: str,
    run: RunDirectory,
    data_home: Path,
    *options: str,
    images: Sequence[str] = (),
) -> dict[str, Any]:
    """What a command prints of a run as JSON. Raises: HelperFailed, what the process said."""
    # An id may begin with a dash: nothing after `--` is an option.
    named = ["--", str(run.path), *images]
    result = await ask(command, *options, "--data-dir", str(data_home), "--json", *named)
    if not result.ok:
        raise HelperFailed(_last_words(result.problem) or f"petbench {command} ended with {result.code}")
    try:
        values = result.json()
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise HelperFailed(f"petbench {command} printed no JSON")
    return values


def _networks(run: RunDirectory) -> list[str]:
    """Changes when the run's networks do."""
    found = []
    for path in sorted(run.checkpoint.glob("*.sha256")):
        with contextlib.suppress(OSError):
            found.append(f"{path.name} {path.stat().st_mtime_ns}")
    return found


def _digest(*texts: str) -> str:
    told = "\0".join(texts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(told).hexdigest()[:24]


def _neighbours(answer: Any) -> tuple[Neighbour, ...] | None:
    try:
        return tuple(
            Neighbour(str(one["id"]), str(one["label"]), float(one["similarity"]))
            for one in answer["neighbours"]
        )
    except (KeyError, TypeError, ValueError):
        return None


def _overlay(answer: Any) -> Overlay | None:
    try:
        picture = Path(answer["overlay"])
        if not picture.is_file():
            return None
        return Overlay(picture, str(answer["said"]), str(answer.get("method", "grad-cam")))
    except (KeyError, TypeError, ValueError, OSError):
        return None


def _last_words(problem: str) -> str:
    """The message without the program's name and without progress lines before it."""
    lines = [line.strip() for line in problem.splitlines() if line.strip()]
    start = next((i for i, line in enumerate(lines) if line.startswith("petbench:")), max(0, len(lines) - 3))
    return "\n".join(lines[start:]).removeprefix("petbench:").strip()
