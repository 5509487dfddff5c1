"""The sample set's breeds: invented cats and dogs that share colours and differ in shape and pattern."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Colour = tuple[int, int, int]
Ears = Literal["pointed", "large", "folded", "pricked", "button", "floppy"]
Pattern = Literal["solid", "stripes", "spots", "patches", "points", "saddle"]
CoatName = Literal["ginger", "grey", "brown", "cream", "black", "white"]


@dataclass(frozen=True, slots=True)
class Coat:
    """One colouring: what most of the fur is, what the pattern is drawn in, and the belly and muzzle."""

    base: Colour
    marking: Colour
    pale: Colour


@dataclass(frozen=True, slots=True)
class Breed:
    """How an animal of a breed is drawn. Lengths are in head radii.

    `patterns` and `coats` list what occurs, the first pattern more often: no single trait names a breed.
    """

    name: str
    species: Literal["cat", "dog"]
    ears: Ears
    patterns: tuple[Pattern, Pattern]
    coats: tuple[CoatName, ...]
    head_width: float
    head_height: float
    chin: float
    """How much the face narrows towards the chin, 0 round to 0.5 wedge."""
    muzzle_width: float
    muzzle_height: float
    eye: float
    fluff: float
    """Depth of the fringe of long hair around the outline, 0 for a short coat."""
    typical: float = 0.92
    """Share of animals with the first pattern."""


COATS: dict[CoatName, Coat] = {
    "ginger": Coat((206, 132, 66), (140, 74, 30), (240, 214, 180)),
    "grey": Coat((142, 144, 150), (76, 78, 88), (214, 214, 216)),
    "brown": Coat((134, 98, 66), (62, 42, 30), (206, 178, 144)),
    "cream": Coat((226, 204, 168), (150, 110, 72), (246, 238, 222)),
    "black": Coat((58, 54, 54), (24, 22, 24), (150, 140, 132)),
    "white": Coat((232, 228, 220), (92, 78, 68), (250, 248, 244)),
}

BREEDS: tuple[Breed, ...] = (
    Breed("Striped_Loafer", "cat", "pointed", ("stripes", "solid"), ("ginger", "grey", "brown"),
          1.10, 0.90, 0.08, 0.40, 0.28, 0.22, 0.0),
    Breed("Folded_Muffin", "cat", "folded", ("solid", "stripes"), ("grey", "black", "cream"),
          1.16, 0.98, 0.00, 0.38, 0.26, 0.27, 0.0),
    Breed("Dotted_Prowler", "cat", "large", ("spots", "stripes"), ("ginger", "cream", "grey"),
          0.94, 0.94, 0.34, 0.34, 0.28, 0.20, 0.0),
    Breed("Masked_Duchess", "cat", "large", ("points", "solid"), ("cream", "white", "grey"),
          0.92, 0.96, 0.38, 0.34, 0.28, 0.20, 0.0),
    Breed("Fluffy_Baron", "cat", "pointed", ("patches", "stripes"), ("white", "ginger", "grey"),
          1.06, 0.92, 0.12, 0.42, 0.30, 0.20, 0.30),
    Breed("floppy_digger", "dog", "floppy", ("solid", "patches"), ("ginger", "black", "brown"),
          0.86, 1.00, 0.18, 0.46, 0.54, 0.14, 0.0),
    Breed("speckled_fetcher", "dog", "floppy", ("spots", "solid"), ("white", "cream", "grey"),
          0.84, 1.02, 0.20, 0.44, 0.54, 0.14, 0.0),
    Breed("pricked_ranger", "dog", "pricked", ("saddle", "points"), ("ginger", "brown", "grey"),
          0.88, 1.00, 0.30, 0.38, 0.56, 0.14, 0.0),
    Breed("wrinkled_snorter", "dog", "button", ("points", "solid"), ("cream", "ginger", "grey"),
          1.06, 0.90, 0.00, 0.66, 0.40, 0.19, 0.0),
    Breed("patched_scruff", "dog", "button", ("patches", "saddle"), ("white", "brown", "grey"),
          0.90, 0.98, 0.12, 0.44, 0.50, 0.14, 0.24),
)  # fmt: skip
