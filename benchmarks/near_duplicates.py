"""What near-duplicates by look find: changed copies of the pets, and pairs of originals called alike.

    python -m benchmarks.near_duplicates [--data-dir DIR] [--images 1200] [--seed 0]

Decodes photographs drawn by the seed as `petbench data check` does, changes each in four ways, and compares
difference hashes. Found: the copy's differs from its original's in at most LOOK_DISTANCE bits; by equality:
in none. Photographs without a look, for want of contrast, are passed over. The pairs of originals are printed
by name: whether they are copies is for the eye.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from io import BytesIO
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from benchmarks.options import PETS, find_pets
from workbench.dataset.contents import LOOK_DISTANCE, alike_looks
from workbench.dataset.oxford import read_oxford
from workbench.dataset.probe import UnreadableImage, decode_image, difference_hash

_BRIGHTER = 1.2
_CROPPED = 0.03
_QUALITY = 60


def half_size(image: Image.Image) -> Image.Image:
    """Half as wide and half as high, as photo programs do it."""
    return image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.LANCZOS)


def compressed(image: Image.Image) -> Image.Image:
    """Saved as a JPEG of low quality."""
    stream = BytesIO()
    image.save(stream, "JPEG", quality=_QUALITY)
    return Image.open(stream).convert("RGB")


def brighter(image: Image.Image) -> Image.Image:
    """All channels times 1.2; what is bright already is cut off."""
    return ImageEnhance.Brightness(image).enhance(_BRIGHTER)


def cropped(image: Image.Image) -> Image.Image:
    """A margin cut off each side."""
    across, down = round(_CROPPED * image.width), round(_CROPPED * image.height)
    return image.crop((across, down, image.width - across, image.height - down))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half size": half_size,
    f"JPEG, quality {_QUALITY}": compressed,
    f"{_BRIGHTER} times as bright": brighter,
    f"{_CROPPED:.0%} cropped off each side": cropped,
}


def bits_apart(one: bytes, other: bytes) -> int:
    """In how many bits two looks differ."""
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


def looks_of(pets: Path, count: int, seed: int) -> tuple[dict[str, bytes], dict[str, list[int]]]:
    """The looks of so many pets by id, and of each kind of copy the bits that it is apart from its original.

    Photographs that cannot be decoded or have no look are passed over for others. A copy without a look is 64
    bits apart.
    """
    records = read_oxford(pets, dataset=PETS).records
    looks: dict[str, bytes] = {}
    apart: dict[str, list[int]] = {kind: [] for kind in COPIES}
    for position in np.random.default_rng(seed).permutation(len(records)).tolist():
        if len(looks) == count:
            break
        try:
            pixels = decode_image(records[position].path)
        except UnreadableImage:
            continue
        look = difference_hash(pixels)
        if look is None:
            continue
        looks[records[position].id] = look
        image = Image.fromarray(pixels)
        for kind, change in COPIES.items():
            copy = difference_hash(np.asarray(change(image)))
            apart[kind].append(64 if copy is None else bits_apart(look, copy))
    return looks, apart


def alike_originals(looks: dict[str, bytes]) -> list[tuple[str, str, int]]:
    """Pairs of ids whose looks are equal or nearly so, with the bits between them."""
    groups: dict[bytes, list[str]] = {}
    for name, look in looks.items():
        groups.setdefault(look, []).append(name)
    equal = [(*pair, 0) for group in groups.values() for pair in combinations(group, 2)]
    known = list(groups)
    near = [
        (one, other, bits_apart(known[here], known[there]))
        for here, there in alike_looks(known).tolist()
        for one in groups[known[here]]
        for other in groups[known[there]]
    ]
    return equal + near


def main() -> None:
    """Print the table of docs/data.md and the pairs of originals."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data-dir", type=Path, help="holds oxford-iiit-pet/; else $PETBENCH_DATA, else ../shared/data"
    )
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    home = find_pets(options.data_dir)
    if home is None:
        parser.error("no oxford-iiit-pet/ here: name its folder's parent with --data-dir")
    looks, apart = looks_of(home / PETS, options.images, options.seed)
    if not looks:
        parser.error("--images: at least 1")
    print(f"{len(looks)} photographs, seed {options.seed}\n\n| copy | found | by equality |\n|---|---|---|")
    for kind, bits in apart.items():
        found = np.array(bits)
        print(f"| {kind} | {(found <= LOOK_DISTANCE).mean():.0%} | {(found == 0).mean():.0%} |")
    pairs = alike_originals(looks)
    print(f"\nOf {len(looks) * (len(looks) - 1) // 2:,} pairs of originals {len(pairs)} are called alike:")
    for one, other, bits_between in pairs:
        print(f"{one} and {other}: {bits_between} bits")


if __name__ == "__main__":
    main()
