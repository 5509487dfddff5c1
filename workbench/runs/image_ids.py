"""The ids of very many images: one piece of UTF-8 and where each ends, not an object an image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from workbench.support.csv_columns import SURROGATES


class ImageIds(Sequence[str]):
    """Ids in their order; equal to another of the same ids in the same order.

    Some 8 bytes an image beside the text; 16 more once one was looked up.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, cells: Iterable[bytes]) -> None:
        """Args: cells: each id as UTF-8, lone surrogates as they are."""
        known = cells if isinstance(cells, list) else list(cells)
        self._text = b"".join(known)
        self._ends: NDArray[np.int64] = np.cumsum(np.fromiter(map(len, known), np.int64, len(known)))
        self._index: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    @classmethod
    def of(cls, ids: Iterable[str]) -> ImageIds:
        """From text."""
        return ids if isinstance(ids, ImageIds) else cls([one.encode("utf-8", SURROGATES) for one in ids])

    @classmethod
    def of_array(cls, ids: NDArray[np.str_]) -> ImageIds:
        """From (N,) of numpy's text, by pieces: as objects they take several times the room."""
        found = cls([])
        texts, lengths = [], [np.zeros(0, np.int64)]
        for first in range(0, len(ids), _PIECE):
            piece = cls.of(ids[first : first + _PIECE].tolist())
            texts.append(piece._text)
            lengths.append(np.diff(piece._ends, prepend=0))
        found._text, found._ends = b"".join(texts), np.cumsum(np.concatenate(lengths))
        return found

    @classmethod
    def joined(cls, parts: Iterable[ImageIds]) -> ImageIds:
        """One after the other."""
        found, known = cls([]), list(parts)
        found._text = b"".join(part._text for part in known)
        lengths = [np.diff(part._ends, prepend=0) for part in known]
        found._ends = np.cumsum(np.concatenate([np.zeros(0, np.int64), *lengths]))
        return found

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self)))]
        place = range(len(self))[at]
        start = int(self._ends[place - 1]) if place else 0
        return self._text[start : int(self._ends[place])].decode("utf-8", SURROGATES)

    def __iter__(self) -> Iterator[str]:
        return (cell.decode("utf-8", SURROGATES) for cell in self._cells())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ImageIds):
            return NotImplemented
        return self._text == other._text and bool(np.array_equal(self._ends, other._ends))

    def place(self, image: str) -> int | None:
        """Where an image is; None where it is not."""
        (found,) = self.places([image]).tolist()
        return found if found >= 0 else None

    def places(self, images: Iterable[str]) -> NDArray[np.int64]:
        """(K,) where each of K images is; -1 where it is not. The first look-up makes an index."""
        cells = [image.encode("utf-8", SURROGATES) for image in images]
        hashes, order = self._looked_up()
        wanted = _hashes(cells)
        candidates = np.searchsorted(hashes, wanted)
        found = np.full(len(cells), -1, np.int64)
        for number, (cell, at) in enumerate(zip(cells, candidates.tolist(), strict=True)):
            while at < len(hashes) and hashes[at] == wanted[number]:
                place = int(order[at])
                if self._text[int(self._ends[place - 1]) if place else 0 : int(self._ends[place])] == cell:
                    found[number] = place
                    break
                at += 1
        return found

    def _cells(self) -> Iterator[bytes]:
        start = 0
        for first in range(0, len(self), _PIECE):
            for end in self._ends[first : first + _PIECE].tolist():
                yield self._text[start:end]
                start = end

    def _looked_up(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(N,) int64 hashes in their order, and (N,) int64 whose they are; equal ones keep theirs."""
        if self._index is None:
            hashes = np.fromiter(map(hash, self._cells()), np.int64, len(self))
            order: NDArray[Any] = np.argsort(hashes, kind="stable")
            self._index = hashes[order], order
        return self._index


_PIECE = 65_536
"""Ids that are objects at a time."""


def _hashes(cells: Sequence[bytes]) -> NDArray[np.int64]:
    return np.fromiter(map(hash, cells), np.int64, len(cells))
