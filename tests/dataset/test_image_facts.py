"""Facts of images: brightness and blur from pixels, kept by content; folders, groups, columns."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from tests.dataset.pictures import picture
from workbench.dataset import image_facts, open_catalogue
from workbench.dataset.catalogue import Catalogue
from workbench.dataset.image_facts import brightness_and_blur, image_names, image_numbers, number_words
from workbench.recipe.data import Data


def photograph(seed: int = 0) -> Image.Image:
    """Structure of every scale, which is what blur takes away."""
    random = np.random.default_rng(seed)
    layers = np.zeros((256, 320, 3))
    for side in (4, 16, 64, 256):
        noise = random.uniform(0, 255, (side, side, 3)).astype(np.uint8)
        layers += np.asarray(Image.fromarray(noise).resize((320, 256), Image.Resampling.BICUBIC)) / 4
    return Image.fromarray(layers.astype(np.uint8))


def facts_of(image: Image.Image) -> tuple[float, float]:
    return brightness_and_blur(np.asarray(image.convert("RGB")))


def test_blur_grows_with_the_radius_and_not_with_less_contrast_or_light() -> None:
    image = photograph()
    radii = [facts_of(image.filter(ImageFilter.GaussianBlur(radius)))[1] for radius in (0, 1, 2, 4, 8)]
    assert radii == sorted(radii)
    assert radii[0] < 0.4 < 0.7 < radii[-1] < 1
    sharp = facts_of(image)
    darker = Image.fromarray((np.asarray(image) * 0.4).astype(np.uint8))
    assert facts_of(darker)[1] == pytest.approx(sharp[1], abs=0.02)
    assert facts_of(darker)[0] == pytest.approx(0.4 * sharp[0], abs=1.5)


@pytest.mark.parametrize(
    ("colour", "brightness"), [((0, 0, 0), 0), ((255, 255, 255), 255), ((255, 0, 0), 76)]
)
def test_a_picture_of_one_colour_has_its_luma_and_nothing_sharp(
    colour: tuple[int, int, int], brightness: int
) -> None:
    for size in ((1, 1), (3, 700), (224, 224)):
        found = facts_of(Image.new("RGB", size, colour))
        assert found[0] == pytest.approx(brightness, abs=1)
        assert found[1] == 1.0


def table_of(folder: Path, rows: list[dict[str, str]]) -> Catalogue:
    """A table with pictures of several sizes."""
    for number, row in enumerate(rows):
        (folder / row["path"]).parent.mkdir(parents=True, exist_ok=True)
        picture(number, 40 + number, 30).save(folder / row["path"])
    with (folder / "labels.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return open_catalogue(data_of(folder), data_home=folder)


def data_of(folder: Path) -> Data:
    return Data.model_validate({"dataset": "table", "root": str(folder / "labels.csv")})


def a_table(folder: Path) -> Catalogue:
    return table_of(
        folder,
        [
            {
                "path": f"{'cellar' if number % 3 else 'roof'}/{number:02d}.png",
                "label": "ab"[number % 2],
                "split": "test" if number > 15 else "train",
                "patient": f"p{number // 4}",
                "camera": ("nikon", "", "canon")[number % 3],
                "iso": "" if number == 3 else str(100 * number),
                "size": "large" if number % 5 else "small",
                "same": "one",
            }
            for number in range(20)
        ],
    )


def test_a_tables_further_columns_are_names_or_numbers_and_what_it_already_said_is_not(
    tmp_path: Path,
) -> None:
    catalogue = a_table(tmp_path)
    names, numbers = image_names(catalogue, range(20), data_of(tmp_path))
    assert set(names) == {"folder", "group", "camera", "column size"}
    assert set(numbers) == {"iso"}
    by_id = {record.id: place for place, record in enumerate(catalogue.records)}
    assert names["camera"][by_id["cellar/01.png"]] is None
    assert names["camera"][by_id["cellar/02.png"]] == "canon"
    assert names["folder"][by_id["roof/03.png"]] == "roof"
    assert names["group"][by_id["roof/03.png"]] == "p0"
    assert numbers["iso"][by_id["cellar/05.png"]] == 500
    assert np.isnan(numbers["iso"][by_id["roof/03.png"]])


def test_a_column_of_lists_is_passed_over(tmp_path: Path) -> None:
    for number in range(6):
        picture(number).save(tmp_path / f"{number}.png")
    rows = [
        {"path": f"{number}.png", "label": "ab"[number % 2], "tags": [1], "who": "xy"[number // 3]}
        for number in range(6)
    ]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "labels.jsonl").write_text("\n".join(lines))
    data = Data.model_validate({"dataset": "table", "root": str(tmp_path / "labels.jsonl")})
    catalogue = open_catalogue(data, data_home=tmp_path)
    names, numbers = image_names(catalogue, range(6), data)
    assert set(names) == {"who"}
    assert numbers == {}


def test_folders_within_folders_are_facts_of_their_own(tmp_path: Path) -> None:
    for number in range(8):
        place = tmp_path / "ab"[number % 2] / ("day", "night")[number // 4] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(place)
    data = Data.model_validate({"dataset": "folder", "root": str(tmp_path)})
    catalogue = open_catalogue(data, data_home=tmp_path)
    names, _ = image_names(catalogue, range(8), data)
    assert set(names) == {"folder", "folder 2"}
    assert set(names["folder 2"]) == {"a/day", "a/night", "b/day", "b/night"}


def test_pixels_are_looked_at_once_and_again_when_a_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []
    really = image_facts._facts_of

    def counted(path: Path, scale: object) -> tuple[float, float]:
        seen.append(path)
        return really(path, None)

    monkeypatch.setattr(image_facts, "_facts_of", counted)
    catalogue = a_table(tmp_path / "data")
    found = image_numbers(catalogue, range(20), cache=tmp_path / "cache")
    assert list(found) == ["brightness", "blur", "size", "aspect", "bytes"]
    assert len(seen) == 20
    first = catalogue.records[4]
    assert found["size"][4] == first.size[0] * first.size[1]
    again = image_numbers(catalogue, range(3, 20), cache=tmp_path / "cache")
    assert len(seen) == 20
    _same(again["blur"], found["blur"][3:])
    Image.new("RGB", (50, 30), (9, 9, 9)).save(first.path)
    image_numbers(open_catalogue(data_of(tmp_path / "data"), data_home=tmp_path), range(20),
                  cache=tmp_path / "cache")  # fmt: skip
    assert seen[20:] == [first.path]
    image_numbers(catalogue, range(20), ["size", "bytes"], cache=tmp_path / "elsewhere")
    assert len(seen) == 21


def test_what_cannot_be_decoded_has_no_brightness_and_a_damaged_cache_costs_time_alone(
    tmp_path: Path,
) -> None:
    catalogue = a_table(tmp_path / "data")
    broken = catalogue.records[2].path
    broken.write_bytes(broken.read_bytes()[:60])
    found = image_numbers(catalogue, range(20), cache=tmp_path / "cache")
    assert np.flatnonzero(np.isnan(found["blur"])).tolist() == [2]
    kept = next((tmp_path / "cache" / "pixel-facts").iterdir())
    kept.write_bytes(b"rubbish")
    _same(image_numbers(catalogue, range(20), cache=tmp_path / "cache")["blur"], found["blur"])


def test_numbers_are_told_in_their_units() -> None:
    assert number_words("brightness", 12.3, 70.8) == "12–71"
    assert number_words("size", 50_000, 190_000) == "0.0500–0.19 MP"
    assert number_words("bytes", 2048, 4096) == "2.0 KiB–4.0 KiB"
    assert number_words("iso", 100, 1600) == "100–1600"
    assert number_words("aspect", 1.0, 1.0) == "1.00"


def _same(one: NDArray[np.float64], other: NDArray[np.float64]) -> None:
    np.testing.assert_array_equal(one, other)
