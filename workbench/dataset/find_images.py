"""Images by the ids that people and other programs name them by."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.dataset.catalogue import Catalogue
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.nearest import nearest


def find_images(catalogue: Catalogue, ids: Sequence[str]) -> list[int]:
    """The positions of these images, in their order.

    Raises:
        UserError: the data set has no image of such an id (names the nearest), or it cannot be used.
    """
    known = {record.id: position for position, record in enumerate(catalogue.records)}
    for name in ids:
        if name not in known:
            raise _missing(catalogue, name, known)
    return [known[name] for name in ids]


def _missing(catalogue: Catalogue, name: str, known: dict[str, int]) -> UserError:
    where = clean(catalogue.root)
    for image in catalogue.left_out:
        if image.id == name:
            return UserError(f"{clean(name, 80)} cannot be used: {clean(image.reason)}", where=where)
    near = nearest(name, known)
    return UserError(
        f"no image {clean(name, 80)!r}",
        where=where,
        hint=f"did you mean {clean(near, 80)}?"
        if near
        else f"an id such as {clean(catalogue.records[0].id, 80)}",
    )
