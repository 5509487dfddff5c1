"""What a helper process finds for an image, with torch: nearest labelled images, saliency; kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.runs.layout import RunDirectory
from workbench.support.caches import read_json_cache, write_json_cache
from workbench.support.paths import cache_home
from workbench.tui.helper import HelperResult

Runner = Callable[..., Awaitable[HelperResult]]
"""Runs `petbench ARGUMENTS…` in a process of its own: `helper.run_petbench`."""

_NEIGHBOURS = 6


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


class Helped:
    """Asks helpers about the images of one run; remembers answers until its networks or the images change."""

    def __init__(self, run: RunDirectory, data_home: Path, ask: Runner) -> None:
        self._run, self._data_home, self._ask = run, data_home, ask
        self.of_data("")

    def of_data(self, look: str) -> None:
        """Answers are about the data set that looks so: `files.look_of`; of others nothing is known."""
        self._folder = cache_home() / "inspect" / _digest(str(self._run.path), *_networks(self._run), look)

    def known_neighbours(self, image: str) -> tuple[Neighbour, ...] | None:
        """What was found before; None where nobody asked."""
        return _neighbours(read_json_cache(self._place("neighbours", image)))

    async def neighbours(self, images: Sequence[str]) -> None:
        """Find the neighbours of several images by one process. `known_neighbours` has them then.

        Raises:
            HelperFailed: what the process said.
        """
        for answer in await self._answers("neighbours", images, "--count", str(_NEIGHBOURS)):
            if isinstance(answer, dict) and _neighbours(answer) is not None:
                write_json_cache(self._place("neighbours", str(answer.get("id"))), answer)

    def known_overlay(self, image: str, *, teacher: bool) -> Overlay | None:
        """What was drawn before; None where nobody asked."""
        return _overlay(read_json_cache(self._place(_saliency(teacher), image)))

    async def overlay(self, image: str, *, teacher: bool) -> None:
        """Have the overlay of an image drawn. `known_overlay` has it then.

        Raises:
            HelperFailed: what the process said.
        """
        place = self._place(_saliency(teacher), image)
        out = place.with_suffix("")
        options = ["--out", str(out), *(["--teacher"] if teacher else [])]
        for answer in await self._answers("saliency", [image], *options):
            if isinstance(answer, dict) and isinstance(answer.get("overlay"), str):
                picture = out / answer["overlay"]  # an absolute path stays what it is
                write_json_cache(place, {**answer, "overlay": str(picture)})

    async def label_issues(self) -> None:
        """Judge the labels of the run's labelled images; what is found lies in the run's directory then.

        Raises:
            HelperFailed: what the process said.
        """
        await self._answers("label-issues", [])

    async def _answers(self, command: str, images: Sequence[str], *options: str) -> list[Any]:
        """What a command prints of each image. Raises: HelperFailed."""
        # An id may begin with a dash: nothing after `--` is an option.
        named = ["--", str(self._run.path), *images]
        result = await self._ask(command, *options, "--data-dir", str(self._data_home), "--json", *named)
        if not result.ok:
            raise HelperFailed(_last_words(result.problem) or f"petbench {command} ended with {result.code}")
        try:
            values = result.json()
        except ValueError:
            raise HelperFailed(f"petbench {command} printed no JSON") from None
        return list(values.get("images", ()))

    def _place(self, kind: str, image: str) -> Path:
        return self._folder / kind / f"{_digest(image)}.sealed"


def _saliency(teacher: bool) -> str:
    return "saliency-teacher" if teacher else "saliency"


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
