"""Do extra labelled images help? Four labels a class, and beside them images of known quality.

    python -m benchmarks.extra_images --work DIR [--data-dir DIR] [--cache DIR] [--seeds 5]
        [--made FOLDER …] [--only KIND …] [--out FILE.json]

No pictures of a generator are needed: what a generator may be like is made of photographs that the few
labels left out. True ones are the most that any generator could give; half of another breed of the same
species is a generator that does not know the breeds; 32 pixels enlarged is one that draws without detail;
the sample's drawn pets are of the species and nothing else. `--made` adds pictures of `petbench generate`,
or any other folder of class sub-folders, as a kind of their own.

All extras lie in one folder (DIR/extras), so that features are computed once; a run leaves out the others by
`data.corrections`. True images are drawn from those that neither validate nor are labelled under any of the
seeds, and leave every run's pool. Each run is benchmarks.strategies' "class_balanced + vote": its teacher is
the head on the labels and the extras alone. Prints accuracy in percent, mean ± standard deviation over the
seeds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.strategies import BASE, LABELS, STRATEGIES
from workbench.dataset import Catalogue, make_split, open_catalogue
from workbench.dataset.review import Correction, Verdict, file_text
from workbench.dataset.sample import SampleOptions, generate_sample
from workbench.recipe import Recipe
from workbench.recipe.dump import dump_recipe
from workbench.support.paths import cache_home, data_home

MOST = 10
"""Extra images a class."""
FEW = 3
COARSE = 32
"""Pixels a side that are left of an image without detail."""
COPIES = 3
NONE, AUGMENTED = "none", f"{COPIES} augmented copies of each labelled image"
KINDS = {
    NONE: "",
    AUGMENTED: "",
    f"{FEW} true": "true",
    f"{MOST} true": "true",
    f"{MOST}, half of another breed": "true",
    f"{MOST} true, of {COARSE} pixels": "coarse",
    f"{MOST} drawn pets of the species": "drawn",
}
"""What a run gets a class -> how the files' names begin."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where everything lies."""

    data: Path
    cache: Path
    extras: Path
    away: tuple[str, ...]
    """Ids of the images that were copied into the extras: no run's pool has them."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a run came to."""

    kind: str
    seed: int
    labels_validation: float
    labels_test: float
    """Of the teacher: the head on the labels and the extra images."""
    validation: float
    test: float
    """Of the final model, which learned from the pool too."""


def main() -> None:
    """Make the extras, run what was asked for, and print it."""
    options = _options()
    seeds = range(options.seeds)
    data, cache = data_home(options.data_dir), options.cache or cache_home()
    catalogue = open_catalogue(_recipe(0).data, data_home=data)
    spare = spare_images(catalogue, seeds)
    extras = options.work / "extras"
    if not extras.is_dir():
        make_extras(extras, catalogue, spare, options.made)
    away = tuple(catalogue.records[position].id for own in spare for position in own)
    place = Place(data, cache, extras, away)
    kinds = KINDS | {f"{MOST} of {folder.name}": f"made{i}" for i, folder in enumerate(options.made)}
    done: list[Done] = []
    for seed in seeds:  # outermost, so that a stopped table has whole columns
        for kind in options.only or kinds:
            done.append(run(kind, kinds[kind], seed, place))
            print(done[-1], flush=True)
            if options.out is not None:
                options.out.write_text(json.dumps([asdict(one) for one in done], indent=1))
    for line in table(done):
        print(line)


def spare_images(catalogue: Catalogue, seeds: Sequence[int]) -> list[list[int]]:
    """For every class `MOST` training images that stay in the pool under all of the seeds."""
    always = set(catalogue.positions("train").tolist())
    for seed in seeds:
        recipe = _recipe(seed)
        always &= set(make_split(catalogue, recipe.data, recipe.pseudo_label).unlabelled.tolist())
    labels = catalogue.labels("breed")
    random = np.random.default_rng(0)
    spare = []
    for label, name in enumerate(catalogue.breeds):
        own = random.permutation([position for position in sorted(always) if labels[position] == label])
        if len(own) < MOST:
            raise SystemExit(f"{name}: {len(own)} spare images and not {MOST}; give fewer --seeds")
        spare.append(own[:MOST].tolist())
    return spare


def make_extras(
    extras: Path, catalogue: Catalogue, spare: Sequence[Sequence[int]], made: Sequence[Path]
) -> None:
    """Write the folder of all kinds; files are named by what they are, and numbered."""
    part = extras.with_name(f".{extras.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    with tempfile.TemporaryDirectory() as drawn_home:
        drawn = _drawn_pets(Path(drawn_home), len(spare))
        for label, name in enumerate(catalogue.breeds):
            (part / name).mkdir(parents=True)
            species = catalogue.records[spare[label][0]].species
            for number, position in enumerate(spare[label]):
                source = catalogue.records[position].path
                shutil.copyfile(source, part / name / f"true-{number:02d}{source.suffix}")
                _coarse(source).save(part / name / f"coarse-{number:02d}.png")
                shutil.copyfile(next(drawn[species or 0]), part / name / f"drawn-{number:02d}.jpg")
            for kind, folder in enumerate(made):
                for number, source in enumerate(sorted((folder / name).iterdir())[:MOST]):
                    shutil.copyfile(source, part / name / f"made{kind}-{number:02d}{source.suffix}")
    part.rename(extras)


def _coarse(path: Path) -> Image.Image:
    with Image.open(path) as image:
        plain = image.convert("RGB")
        small = plain.resize((COARSE, COARSE), Image.Resampling.BOX)
        return small.resize(plain.size, Image.Resampling.BICUBIC)


def _drawn_pets(home: Path, breeds: int) -> list[Any]:
    """For cats and for dogs an endless supply of different drawn pictures."""
    # Of five classes each; a quarter more than what 25 breeds of dogs need.
    options = SampleOptions(seed=7, train_per_class=MOST * breeds // 6, test_per_class=1, size=256)
    generate_sample(home / "drawn", options)
    data = _recipe(0).data.model_copy(update={"dataset": "sample", "root": str(home / "drawn")})
    sample = open_catalogue(data, data_home=home)
    return [
        iter([r.path for r in sample.records if r.species == species and r.part == "train"])
        for species in (0, 1)
    ]


def run(kind: str, beginning: str, seed: int, place: Place) -> Done:
    """One run, in a directory of its own that goes away."""
    import torch

    from workbench.runs.attempt_control import Tenure
    from workbench.runs.events import Silent
    from workbench.runs.layout import create_run
    from workbench.runs.process import write_process
    from workbench.train.interrupt import StopRequest
    from workbench.train.run import execute
    from workbench.train.setup import Places

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as home:
        review = Path(home) / "corrections.toml"
        recipe = _recipe(seed, copies=COPIES if kind == AUGMENTED else 0)
        extra = {"extra_labelled": str(place.extras)}
        data = recipe.data.model_copy(update=extra)
        catalogue = open_catalogue(data, data_home=place.data)
        most = FEW if kind.startswith(f"{FEW} ") else MOST
        corrections = _corrections(catalogue, beginning, most, "another breed" in kind, seed)
        corrections += [Correction(id_, Verdict.EXCLUDE, "") for id_ in place.away]
        review.write_text(file_text(corrections), encoding="utf-8")
        data = data.model_copy(update={"corrections": str(review)})
        recipe = recipe.model_copy(update={"data": data})
        directory = create_run(Path(home), recipe.name, dump_recipe(recipe), datetime.now())
        tenure = Tenure(directory, write_process(directory, "cpu"))
        places = Places(place.data, place.cache, torch.device("cpu"))
        results = execute(directory, recipe, places, Silent(), StopRequest(), tenure)
    teacher = next(model for model in results.models if model.name == "teacher")
    return Done(
        kind, seed, teacher.val.accuracy, teacher.test.accuracy, results.val.accuracy, results.test.accuracy
    )


def _corrections(
    catalogue: Catalogue, beginning: str, most: int, confused: bool, seed: int
) -> list[Correction]:
    """Leave out the extra images of other kinds; if confused, half of the others are called another breed."""
    random = np.random.default_rng(seed)
    found = []
    for position in catalogue.positions("extra_labelled").tolist():
        record = catalogue.records[position]
        kind, number = record.path.stem.rsplit("-", 1)
        if kind != beginning or int(number) >= most:
            found.append(Correction(record.id, Verdict.EXCLUDE, ""))
        elif confused and int(number) % 2:
            kin = {other.breed for other in catalogue.records if other.species == record.species}
            label = int(random.choice(sorted(kin - {record.breed})))
            found.append(Correction(record.id, Verdict.RELABEL, catalogue.breeds[label]))
    return found


def table(done: Sequence[Done]) -> list[str]:
    """The runs as Markdown: a row a kind."""
    lines = [
        "| extra images a class | labels and extras: validation | test | with the pool: validation | test |",
        "|---" * 5 + "|",
    ]
    for kind in dict.fromkeys(one.kind for one in done):
        own = [one for one in done if one.kind == kind]
        columns = ("labels_validation", "labels_test", "validation", "test")
        cells = [_spread([getattr(one, column) for one in own]) for column in columns]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return lines


def _spread(values: Sequence[float]) -> str:
    mean = 100 * statistics.mean(values)
    return f"{mean:.1f}" + (f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else "")


def _recipe(seed: int, copies: int = 0) -> Recipe:
    values = tomllib.loads(BASE.read_text(encoding="utf-8"))
    values["pseudo_label"] = (
        {"epochs_per_round": 20} | STRATEGIES["class_balanced + vote"] | LABELS["4 a class"]
    )
    values["seed"] = seed
    values["data"] |= {"split_seed": seed, "image_size": 224, "evaluation_views": ["centre"]}
    values["training"]["precision"] = "fp32"
    if copies:
        values["data"]["augmented_copies"] = copies
        values["augmentation"] = {"random_crop": [0.5, 1.0], "flip": True}
    return Recipe.model_validate(values)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="where the extra images are put")
    parser.add_argument("--data-dir", type=Path, help="holds oxford-iiit-pet/; else $PETBENCH_DATA")
    parser.add_argument("--cache", type=Path, help="features and decoded images; else $PETBENCH_CACHE")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--made", type=Path, nargs="+", default=[], help="folders of class sub-folders")
    parser.add_argument("--only", nargs="+", metavar="KIND", help="these rows alone")
    parser.add_argument("--out", type=Path, help="also write every run as JSON here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
