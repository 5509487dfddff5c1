"""`petbench generate`: more images of a recipe's classes, by a text-to-image pipeline."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from workbench.cli.arguments import DataDir, Device, Json, RecipeFile, Sets, Unsets, changes_of
from workbench.cli.console import cell, check_folder, console, error_console, make_table, print_json, warn
from workbench.cli.display import Display
from workbench.dataset.contents import FEATURE_COSINE
from workbench.recipe import Recipe, load_recipe
from workbench.support.clean import as_word, clean
from workbench.support.errors import UserError
from workbench.support.paths import cache_home, data_home

if TYPE_CHECKING:
    from workbench.generate.image_plan import Class, Wish


def generate(
    recipe: RecipeFile,
    model: Annotated[
        str,
        typer.Option(
            "--model", metavar="NAME|DIR", help="A pipeline of diffusers: its name at the hub, or its folder."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="DIR", help="The folder of class sub-folders, for data.extra_labelled."
        ),
    ],
    images: Annotated[
        int, typer.Option("--images", metavar="N", min=1, max=100_000, help="So many images a class.")
    ] = 20,
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="CLASS", help="This class; may be given again. Default: all."),
    ] = None,
    prompt: Annotated[
        str,
        typer.Option(
            "--prompt",
            metavar="WORDS",
            help="What to ask for, with {class}, and {species} where the data set knows it. Default: "
            "'a photo of a {class}, a breed of {species}'.",
        ),
    ] = "",
    negative: Annotated[
        str, typer.Option("--negative-prompt", metavar="WORDS", help="What there should be none of.")
    ] = "",
    guidance: Annotated[
        float | None,
        typer.Option("--guidance", metavar="X", min=0.0, help="Guidance scale. Default: the pipeline's own."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", metavar="N", min=1, max=10_000, help="Denoising steps. Default: the pipeline's."
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option("--size", metavar="PIXELS", min=8, max=4096, help="A side. Default: the pipeline's."),
    ] = None,
    tune: Annotated[
        int,
        typer.Option(
            "--tune",
            metavar="STEPS",
            min=0,
            help="First teach the pipeline the recipe's labelled images for so many steps (LoRA).",
        ),
    ] = 0,
    tune_rank: Annotated[
        int, typer.Option("--tune-rank", metavar="R", min=1, max=1024, help="Rank of what LoRA adds.")
    ] = 8,
    tune_rate: Annotated[
        float, typer.Option("--tune-rate", metavar="RATE", min=0.0, help="Learning rate of tuning.")
    ] = 1e-4,
    similarity: Annotated[
        float,
        typer.Option(
            "--similarity",
            min=0.0,
            max=1.0,
            help="Cosine of features to a validation or test image from which on an image is refused; 0: by "
            "look alone.",
        ),
    ] = FEATURE_COSINE,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed paints other images.")] = 0,
    batch: Annotated[
        int, typer.Option("--batch", metavar="N", min=1, max=1024, help="Images at a time.")
    ] = 4,
    precision: Annotated[
        str, typer.Option("--precision", help="auto, fp32, bf16 or fp16; auto: fp32 on a CPU.")
    ] = "auto",
    revision: Annotated[
        str, typer.Option("--revision", metavar="COMMIT", help="Of the model at the hub: a commit or tag.")
    ] = "",
    device: Device = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be made; load and write nothing.")
    ] = False,
    sets: Sets = None,
    unsets: Unsets = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Paint more images of a recipe's classes with a text-to-image pipeline. Needs the extra `generate`.

    The folder is one that data.extra_labelled reads. generated.toml and generated.jsonl in it tell how each
    image was made. Near copies of validation and test images are refused. Killed and started again, it goes
    on; the same seed paints the same images.
    """
    out = check_folder(out, new=False)
    loaded = load_recipe(recipe, changes_of(sets, unsets))
    if precision not in ("auto", "fp32", "bf16", "fp16"):
        raise UserError(
            f"no precision {clean(precision, 40)!r}", where="--precision", allowed="auto, fp32, bf16, fp16"
        )
    from workbench.generate.image_plan import Wish

    wish = Wish(
        model=model,
        images=images,
        revision=revision,
        prompt=prompt,
        negative_prompt=negative,
        guidance=guidance,
        steps=steps,
        size=size,
        seed=seed,
        batch=batch,
        precision=precision,  # type: ignore[arg-type]  # looked at above
        similarity=similarity,
        tune_steps=tune,
        tune_rank=tune_rank,
        tune_rate=tune_rate,
        classes=tuple(classes or ()),
    )
    if dry_run:
        _tell(loaded, wish, out, data_home(data_dir), as_json=as_json)
        return
    from workbench.cli.devices import foreground_device
    from workbench.generate.make import generate as make
    from workbench.train import Places

    places = Places(data_home=data_home(data_dir), cache=cache_home(), device=foreground_device(device))
    with Display(error_console) as display:
        outcome = make(loaded, wish, out, places, display)
    settings = outcome.settings
    if as_json:
        record = _record(outcome.folder, outcome.classes, dry_run=False) | {
            "made": outcome.made,
            "pipeline": settings.pipeline,
            "revision": settings.revision,
            "weights": settings.weights,
            "lora": settings.lora,
        }
        print_json("generate", record)
        return
    there = sum(one.images - one.removed for one in outcome.classes)
    _say(f"{outcome.made} images made; {there} of {len(outcome.classes)} classes in {clean(outcome.folder)}")
    refused = sum(one.refused for one in outcome.classes)
    if refused:
        copies = sum(one.near_copies for one in outcome.classes)
        _say(f"{refused} refused, {copies} of them near copies of validation or test images")
    if removed := sum(one.removed for one in outcome.classes):
        _say(f"{removed} were removed by hand since, and are not made again")
    named = as_word(f"data.extra_labelled={outcome.folder}")
    _say(f"  petbench run {as_word(recipe)} --set {named}")


def _tell(recipe: Recipe, wish: Wish, out: Path, data: Path, *, as_json: bool) -> None:
    """What would be made, without torch or a pipeline."""
    from workbench.dataset import open_catalogue
    from workbench.dataset.generated import read_records, refuse_others
    from workbench.dataset.run_data import any_images, divide
    from workbench.generate.image_plan import NEEDED, class_of, local_pipeline, make_plan, without_extra

    local = local_pipeline(wish.model, wish.revision)
    recipe = without_extra(recipe)
    with Display(error_console) as display:
        catalogue = open_catalogue(recipe.data, data_home=data, reporter=display)
    split = divide(recipe, catalogue, typical=any_images).split
    plan = make_plan(wish, catalogue, recipe.data.target)
    refuse_others(out, {"seed": wish.seed, "model": wish.model, "batch": wish.batch})
    records = read_records(out)
    classes = tuple(class_of(planned, records, out) for planned in plan.classes)
    left = sum(plan.left(records).values())
    if as_json:
        print_json("generate", _record(out, classes, dry_run=True) | {"made": 0, "left": left})
        return
    table = make_table(("class", "prompt", "there", "to make"), right=("there", "to make"))
    for planned, one in zip(plan.classes, classes, strict=True):
        to_make = max(0, wish.images - one.images)
        table.add_row(cell(planned.name), cell(planned.prompt), str(one.images), str(to_make))
    console.print(table)
    _say(f"{left} images to make in {clean(out)}, by {clean(wish.model)}{_whence(local)}")
    _say(f"compared with {len(split.validation)} validation and {len(split.test)} test images")
    if wish.tune_steps:
        _say(f"tuned for {wish.tune_steps} steps on {len(split.labelled)} labelled images")
    for package in (*NEEDED, *(("peft",) if wish.tune_steps else ())):
        if importlib.util.find_spec(package) is None:
            warn(f"{package} is not installed: pip install 'petbench[generate]'")


def _whence(local: Path | None) -> str:
    return " from the hub, or what was fetched from it before" if local is None else ", a folder"


def _record(folder: Path, classes: tuple[Class, ...], *, dry_run: bool) -> dict[str, Any]:
    return {"folder": str(folder), "dry_run": dry_run, "classes": [asdict(one) for one in classes]}


def _say(line: str) -> None:
    console.print(Text(line), soft_wrap=True)
