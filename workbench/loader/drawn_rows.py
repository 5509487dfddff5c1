"""Batches of views of which only those rows are drawn that somebody asks for.

Processes that share a batch take different rows of it through the network. Which ones depends on how the
loss puts its views together; so a batch draws when it is asked, and the next one of its size draws that
ahead. A row is the same whoever draws it, and whenever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Draw = Callable[[NDArray[np.int64]], Tensor]
"""(K,) numbers of rows -> (K, 3, side, side) float32 those rows of the batch, on its device."""


class AskedRows:
    """What was asked of the last batch of each size, in turn: the next one will be asked the same."""

    def __init__(self) -> None:
        self._spans: dict[int, tuple[tuple[int, int], ...]] = {}

    def of(self, count: int) -> tuple[tuple[int, int], ...]:
        """(start, stop) of the rows of a batch of `count`."""
        return self._spans.get(count, ())

    def note(self, count: int, spans: Sequence[tuple[int, int]]) -> None:
        """So it is, of a batch of `count`."""
        self._spans[count] = tuple(spans)


class DrawnRows(Tensor):
    """(B, 3, side, side) float32 views. To cut or to join them by rows draws none; any other use draws all.

    What a slice gives is a plain tensor, as it would be of a batch that was drawn at once.
    """

    _rows: Callable[[int, int], Tensor]
    _PLAIN: ClassVar[set[Any]] = {
        getattr(Tensor, name).__get__ for name in ("shape", "device", "dtype", "ndim", "requires_grad")
    } | {Tensor.size, Tensor.dim}
    """What is known of them without their values."""

    @staticmethod
    def __new__(
        cls: type[DrawnRows], rows: Callable[[int, int], Tensor], shape: Sequence[int], device: torch.device
    ) -> DrawnRows:
        """`rows` gives those from a start to a stop."""
        made: DrawnRows = Tensor._make_wrapper_subclass(cls, shape, dtype=torch.float32, device=device)
        made._rows = rows
        return made

    @classmethod
    def of(cls, draw: Draw, shape: Sequence[int], device: torch.device, asked: AskedRows) -> DrawnRows:
        """A batch. What the last one of its size was asked is drawn here.

        Args:
            shape: (B, 3, side, side).
        """
        source = _Source(draw, shape, device, asked)
        for start, stop in asked.of(shape[0]):
            source.drawn(start, stop)
        return cls(source.rows, shape, device)

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The function's own result."""
        if function in cls._PLAIN:
            return super().__torch_function__(function, types, args, kwargs or {})  # type: ignore[no-untyped-call]
        if not kwargs:
            match args:
                case (DrawnRows() as own,) if function is Tensor.__len__:
                    return own.shape[0]
                case (DrawnRows() as own, slice(step=None) as chosen) if function is Tensor.__getitem__:
                    return own._rows(*chosen.indices(own.shape[0])[:2])
                case (DrawnRows() as own, int(parts)) if function is Tensor.tensor_split:
                    return own._split(parts)
                case (list() | tuple() as parts,) if function is torch.cat:
                    return _joined(parts)
        args, kwargs = _whole(args), _whole(kwargs or {})
        return function(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Where no function of torch's own was called: all rows are drawn."""
        return function(*_whole(args), **_whole(kwargs or {}))

    def _split(self, parts: int) -> tuple[Tensor, ...]:
        each, more = divmod(self.shape[0], parts)
        ends = np.cumsum([each + (number < more) for number in range(parts)]).tolist()
        return tuple(self._part(start, stop) for start, stop in zip([0, *ends], ends, strict=False))

    def _part(self, first: int, end: int) -> DrawnRows:
        def rows(start: int, stop: int) -> Tensor:
            return self._rows(first + start, first + stop)

        return DrawnRows(rows, (end - first, *self.shape[1:]), self.device)


def _whole(value: Any) -> Any:
    """A function's arguments with all rows of the batches among them."""
    match value:
        case DrawnRows():
            return value._rows(0, value.shape[0])
        case list() | tuple():
            return type(value)(map(_whole, value))
        case dict():
            return {key: _whole(inner) for key, inner in value.items()}
        case _:
            return value


def _joined(parts: Sequence[Tensor]) -> DrawnRows:
    """Their rows, one part's after another's."""
    ends = np.cumsum([len(part) for part in parts]).tolist()

    def rows(start: int, stop: int) -> Tensor:
        found = []
        for part, first, end in zip(parts, [0, *ends], ends, strict=False):
            low, high = max(start, first), min(stop, end)
            if low < high:
                found.append(part[low - first : high - first])
        return found[0] if len(found) == 1 else torch.cat(found or [parts[0][:0]])

    return DrawnRows(rows, (ends[-1], *parts[0].shape[1:]), parts[0].device)


class _Source:
    """The rows of a batch that are drawn already, as they were drawn."""

    def __init__(self, draw: Draw, shape: Sequence[int], device: torch.device, asked: AskedRows) -> None:
        self._draw, self._shape, self._device, self._asked = draw, tuple(shape), device, asked
        self._drawn: list[tuple[int, int, Tensor]] = []
        self._spans: dict[tuple[int, int], None] = {}

    def rows(self, start: int, stop: int) -> Tensor:
        """(stop - start, 3, side, side), drawn now where they are not yet."""
        if start < stop:
            self._spans[start, stop] = None
            if (start, stop) not in self._asked.of(self._shape[0]):
                self._asked.note(self._shape[0], list(self._spans))
        found = self.drawn(start, stop)
        if not found:
            shape = (0, *self._shape[1:])
            return torch.empty(shape, device=self._device, memory_format=torch.channels_last)
        return found[0] if len(found) == 1 else torch.cat(found)

    def drawn(self, start: int, stop: int) -> list[Tensor]:
        """The same in pieces; nobody has asked for them yet."""
        found = []
        while start < stop:
            held = next((one for one in self._drawn if one[0] <= start < one[1]), None)
            if held is None:
                end = min([stop, *(first for first, _, _ in self._drawn if first > start)])
                held = start, end, self._now(start, end)
                self._drawn.append(held)
            first, end, piece = held
            found.append(piece[start - first : stop - first])
            start = min(stop, end)
        return found

    def _now(self, start: int, stop: int) -> Tensor:
        # Whatever is going on: within a pass there is autocast, and maybe no gradient.
        plain = torch.autocast(self._device.type, enabled=False)
        with torch.inference_mode(False), torch.no_grad(), plain:
            return self._draw(np.arange(start, stop))
