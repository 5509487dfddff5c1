"""From a recipe and a wish to a folder of images: open, load, tune, paint, compare, keep or refuse."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import workbench
from workbench.compute import is_want_of_memory
from workbench.dataset.generated import (
    ASIDE,
    Painted,
    RecordWriter,
    Settings,
    read_records,
    read_settings,
    refuse_others,
    write_settings,
)
from workbench.dataset.probe import blank_colour
from workbench.generate.image_plan import (
    NEEDED,
    TRIES,
    Class,
    Plan,
    PlannedClass,
    Wish,
    class_of,
    local_pipeline,
    make_plan,
    without_extra,
)
from workbench.generate.near_copies import MeasuredImages
from workbench.generate.pipeline import DiffusersPainter, Painter, Picture, import_diffusers, load_painter
from workbench.generate.tuning import TaughtImage, Tuning, tune
from workbench.recipe import Recipe
from workbench.runs.events import Message, Reporter
from workbench.support.atomic import atomic_write, temporaries
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.locks import try_lock
from workbench.train.setup import Places, Setup, prepare

Load = Callable[[Wish, Places], Painter]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What lies in a folder now."""

    folder: Path
    settings: Settings
    classes: tuple[Class, ...]
    made: int
    """Images that this call kept."""


def generate(
    recipe: Recipe,
    wish: Wish,
    out: Path,
    places: Places,
    reporter: Reporter,
    *,
    load: Load = lambda wish, places: load_painter(wish, places.device),
) -> Outcome:
    """Fill `out` with images of every class, or go on where an earlier call ended.

    An image is a function of the seed, the class and its index (and, in its last bits, of batch and device):
    batches are always full and begin at the same indices, whatever is there already. Tuning learns from the
    labelled images of the recipe's split alone.

    Args:
        load: loads the pipeline; another gives pictures of its own.

    Raises:
        UserError: whatever does not fit the data, the pipeline or this machine; a folder that was made with
            other settings, is in use or cannot be written; memory is used up.
    """
    recipe = without_extra(recipe)
    _look_ahead(wish, out)
    with _own_folder(out) as aside:
        setup = prepare(recipe, places, reporter)
        plan = make_plan(wish, setup.catalogue, recipe.data.target)
        known = _known_settings(wish, plan, setup)
        refuse_others(out, known)
        painter = load(wish, places)
        settings = _settings(known, wish, painter, setup)
        there = read_settings(out)
        settings = replace(settings, lora="" if there is None else there.lora)
        refuse_others(out, asdict(settings))
        _write_settings(out, settings)
        if wish.tune_steps:
            settings = replace(settings, lora=_tuned(painter, plan, setup, wish, aside, reporter))
            refuse_others(out, asdict(settings))
            _write_settings(out, settings)
        measured = MeasuredImages(setup, _similarity(wish, recipe, reporter), reporter)
        made = _paint_all(plan, painter, settings, measured, out, reporter)
    records = read_records(out)
    return Outcome(out, settings, tuple(class_of(planned, records, out) for planned in plan.classes), made)


def _look_ahead(wish: Wish, out: Path) -> None:
    """What is quick to go wrong comes first. Raises: UserError."""
    import_diffusers()
    local_pipeline(wish.model, wish.revision)
    if out.is_dir():
        refuse_others(out, {"seed": wish.seed, "model": wish.model, "batch": wish.batch})


@contextlib.contextmanager
def _own_folder(out: Path) -> Iterator[Path]:
    """The hidden folder beside the images, while nobody else works there.

    Raises:
        UserError: somebody does, or it cannot be made.
    """
    aside = out / ASIDE
    try:
        aside.mkdir(parents=True, exist_ok=True)
        lock = try_lock(aside / "lock")
    except OSError as error:
        raise UserError(
            f"cannot be made: {error.strerror or error}",
            where=f"--out {clean(out)}",
            hint="name a folder that can be written",
        ) from error
    if lock is None:
        raise UserError(
            "another petbench generate works in it",
            where=f"--out {clean(out)}",
            hint="wait for it, or name another folder",
        )
    try:
        for folder in (out, *(path for path in out.iterdir() if path.is_dir() and path.name != ASIDE)):
            for left, _, _ in temporaries(folder):  # of a call that was killed
                left.unlink(missing_ok=True)
        yield aside
    finally:
        os.close(lock)


def _known_settings(wish: Wish, plan: Plan, setup: Setup) -> dict[str, object]:
    """What can be told before a pipeline is loaded."""
    tuned = wish.tune_steps > 0
    return {
        "data": setup.catalogue.fingerprint,
        "split": setup.split.fingerprint,
        "target": setup.recipe.data.target,
        "model": wish.model,
        "prompt": plan.template,
        "negative_prompt": wish.negative_prompt,
        "seed": wish.seed,
        "batch": wish.batch,
        "similarity": wish.similarity,
        "tune_steps": wish.tune_steps,
        "tune_rank": wish.tune_rank if tuned else 0,
        "tune_rate": wish.tune_rate if tuned else 0.0,
        "tuned_on": tuple(setup.catalogue.ids[p] for p in setup.split.labelled.tolist()) if tuned else (),
    }


def _settings(known: dict[str, object], wish: Wish, painter: Painter, setup: Setup) -> Settings:
    facts = painter.facts
    return Settings(
        **known,  # type: ignore[arg-type]  # its keys are told by the tests of going on
        pipeline=facts.pipeline,
        revision=facts.revision,
        weights=facts.weights,
        guidance=facts.guidance,
        steps=facts.steps,
        size=facts.size,
        precision=facts.precision,
        made_with=_versions(),
    )


def _versions() -> str:
    found = [f"petbench {workbench.__version__}"]
    for name in ("torch", *NEEDED):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return ", ".join(found)


def _write_settings(out: Path, settings: Settings) -> None:
    with _writing(out):
        write_settings(out, settings)


def _tuned(painter: Painter, plan: Plan, setup: Setup, wish: Wish, aside: Path, reporter: Reporter) -> str:
    """Teach the pipeline the split's labelled images; the hash of what it has learned."""
    assert isinstance(painter, DiffusersPainter)  # what `load_painter` gives
    images = [
        TaughtImage(setup.catalogue.records[position].path, plan.every[int(setup.taught[position])].prompt)
        for position in setup.split.labelled.tolist()
    ]
    tuning = Tuning(wish.tune_steps, wish.tune_rank, wish.tune_rate, wish.batch, wish.seed)
    with _enough_memory(wish.batch, painter), _writing(aside):
        return tune(painter, images, tuning, aside, scale=setup.catalogue.scale, reporter=reporter)


def _similarity(wish: Wish, recipe: Recipe, reporter: Reporter) -> float:
    """By features only where they mean something."""
    if wish.similarity and recipe.model.weights == "none":
        text = "the recipe's trunk has random weights: near copies are found by look alone, crops are not"
        reporter.event(Message("warning", text))
        return 0.0
    return wish.similarity


def _paint_all(
    plan: Plan, painter: Painter, settings: Settings, measured: MeasuredImages, out: Path, reporter: Reporter
) -> int:
    """Paint what is not there yet; returns how many images were kept."""
    records = read_records(out)
    left = plan.left(records)
    seen = {(record.class_name, record.index) for record in records}
    total, made = sum(left.values()), 0
    with _writing(out), RecordWriter(out) as writer:
        for planned in plan.classes:
            if planned.name not in left:
                continue
            wanted = left[planned.name]
            for index, picture in _pictures(plan, planned, painter, settings.batch, seen):
                record, content = _judged(plan, planned, index, picture, settings, measured)
                if not record.refused:
                    path = out / record.path
                    path.parent.mkdir(exist_ok=True)
                    atomic_write(path, content)
                    wanted, made = wanted - 1, made + 1
                    reporter.progress("paint", made, total)
                writer.append(record)
                if not wanted:
                    break  # before the next batch is painted
            if wanted:
                text = (
                    f"{clean(planned.name, 80)}: {wanted} of {plan.images} are missing, too many were refused"
                )
                reporter.event(Message("warning", text))
    if made < total:  # closes the bar
        reporter.progress("paint", total, total)
    return made


def _pictures(
    plan: Plan, planned: PlannedClass, painter: Painter, batch: int, seen: set[tuple[str, int]]
) -> Iterator[tuple[int, Picture]]:
    """The class's pictures by index, those not seen yet; asked for a batch at a time.

    A batch decides the last bits of its pictures, so each is painted whole, and begins where it always does.
    """
    most = -(-TRIES * plan.images // batch) * batch
    for start in range(0, most, batch):
        indices = range(start, start + batch)
        new = [index for index in indices if (planned.name, index) not in seen]
        if not new:
            continue
        with _enough_memory(batch, painter):
            pictures = painter.paint(
                [planned.prompt] * batch, [plan.seed_of(planned, index) for index in indices]
            )
        if start == 0 and all(picture.flagged.startswith("not a number") for picture in pictures):
            raise UserError(
                f"the pipeline paints nothing in {painter.facts.precision}: its numbers run out of range",
                where="--precision",
                hint="--precision fp32, or bf16 where the device has it",
            )
        yield from ((index, pictures[index - start]) for index in new)


def _judged(
    plan: Plan,
    planned: PlannedClass,
    index: int,
    picture: Picture,
    settings: Settings,
    measured: MeasuredImages,
) -> tuple[Painted, bytes]:
    """A picture's record, and its file's content; empty where it is refused."""
    copy = None
    refused = picture.flagged or (f"blank: {colour}" if (colour := blank_colour(picture.pixels)) else "")
    if not refused and (copy := measured.nearest_copy(picture.pixels)) is not None:
        refused = copy.words
    content = b"" if refused else _png(picture.pixels)
    record = Painted(
        path="" if refused else f"{planned.folder}/{index:05d}.png",
        class_name=planned.name,
        index=index,
        seed=plan.seed_of(planned, index),
        prompt=planned.prompt,
        negative_prompt=settings.negative_prompt,
        guidance=settings.guidance,
        steps=settings.steps,
        model=settings.model,
        revision=settings.revision,
        weights=settings.weights,
        lora=settings.lora,
        sha256="" if refused else hashlib.sha256(content).hexdigest(),
        refused=refused,
        twin="" if copy is None else copy.id,
    )
    return record, content


def _png(pixels: NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG")
    return content.getvalue()


@contextlib.contextmanager
def _enough_memory(batch: int, painter: Painter) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_want_of_memory(error):
            raise
        facts = painter.facts
        smaller = f"--batch {batch // 2}, " if batch > 1 else ""
        raise UserError(
            f"memory is used up: {batch} images of {facts.size} pixels at a time in {facts.precision}",
            where="--batch" if batch > 1 else "--size",
            hint=f"{smaller}--size {facts.size // 2} or --precision bf16 need less (another batch is another "
            "folder: it changes the images' last bits)",
        ) from error


@contextlib.contextmanager
def _writing(place: Path) -> Iterator[None]:
    """What the system says of a disk, in words."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot be written: {error.strerror or error}",
            where=clean(error.filename or place),
            hint="the same command goes on where this one ended",
        ) from error
