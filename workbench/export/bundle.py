"""One folder with a run's model: written in each format, asked again, and kept only if it answers alike."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from workbench.dataset.catalogue import Catalogue
from workbench.export.exported_network import PixelsToProbabilities, ViewsToLogits
from workbench.export.formats import FORMATS, Answers, Exported
from workbench.export.int8 import INT8, Quantised, quantise
from workbench.export.model_card import model_card
from workbench.export.pictures import Pictures, check_pictures, validation_images, views_of
from workbench.loader.store import stored_side
from workbench.loader.store_build import Square, square_of
from workbench.model import frozen_copy
from workbench.paper.reliability_chart import reliability_chart
from workbench.recipe import Recipe
from workbench.runs.abstaining import Promise, promises_of
from workbench.runs.calibration import calibration_of, known_predictions, reliability_at
from workbench.runs.layout import RunDirectory
from workbench.runs.results import Results, read_results
from workbench.support.atomic import atomic_folder
from workbench.support.clean import clean
from workbench.support.digests import file_sha256
from workbench.support.errors import UserError
from workbench.support.progress import Progress
from workbench.train.conclude import FINAL_WEIGHTS, TEACHER_WEIGHTS
from workbench.train.predict import Predictor

CHECK, LABELS, CARD, CONFIG = "check.json", "labels.txt", "model-card.md", "model.json"
RELIABILITY = "reliability.svg"
"""The reliability diagram, where the model's validation predictions are there."""
MOST = 1e-4
"""The largest difference of a probability between petbench's network and a written file's answer."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a written file said of the images, against petbench."""

    format: str
    from_pixels: bool
    """Whether pixels go in and probabilities come out; else views and logits."""
    files: tuple[str, ...]
    bytes: int
    difference: float
    """Largest difference of a probability from petbench's network in float32 on the very same inputs."""
    from_run: float
    """The same from what the run itself says of the images, in its own arithmetic and by its own resizing."""
    same_class: int
    """Of the images: the most probable class is the run's."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """An export that stands."""

    folder: Path
    model: str
    """Which of the run's models it is: `model` of a supervised run, else `teacher` or `student`."""
    weights_sha256: str
    """Of the file in the run's `checkpoint/` that was exported."""
    checked: tuple[Checked, ...]
    images: int
    of_validation: bool
    """Whether the images were those that judged the run, not noise."""
    images_are: str
    """What they are, in words for people."""
    temperature: float | None
    """None where the model's predictions are lost."""
    int8: Quantised | None = None
    promises: tuple[Promise, ...] = ()
    """From which confidence on the model may be believed how far; none where predictions are lost."""


def export_run(
    directory: RunDirectory,
    recipe: Recipe,
    predictor: Predictor,
    names: Sequence[str],
    out: Path,
    catalogue: Catalogue | None,
    progress: Progress,
    *,
    teacher: bool = False,
    with_preprocessing: bool = False,
    int8: bool = False,
    command_line: Sequence[str] = (),
) -> Bundle:
    """Write one of the run's models in each of the formats `names` into the new folder `out`.

    Args:
        predictor: of that model, on the CPU.
        teacher: it is the run's teacher, not its final model.
        catalogue: the run's images, where they are at hand; else made-up pictures are the check.
        with_preprocessing: uint8 pixels of any size go in and probabilities come out, in formats that can.
        int8: also an ONNX file in eight-bit integers, calibrated on validation images.

    Raises:
        UserError: a package is missing, the folder is there or cannot be written, a format cannot hold this
            network, or a file answers otherwise than petbench: then nothing is kept.
    """
    refuse_missing(names, int8=int8, with_preprocessing=with_preprocessing)
    refuse_unfit(names, recipe)
    results = read_results(directory.results)
    model = results.model(teacher=teacher)
    weights = directory.checkpoint / (TEACHER_WEIGHTS if teacher else FINAL_WEIGHTS)
    pictures = check_pictures(directory, catalogue, predictor.scale)
    if int8 and catalogue is None:
        raise UserError(
            "eight-bit integers are calibrated on the run's validation images, which are not there",
            where="--int8",
            hint="--data-dir or PETBENCH_DATA says where the data lie",
        )
    exact = _in_float32(predictor)
    squares = [square_of(pixels, stored_side(exact.form.side)) for pixels in pictures.pixels]
    # Of the very pixels that the files see: the run's own way decodes a large JPEG at a reduced scale.
    told = exact.probabilities(squares)
    as_run = predictor.probabilities(squares)
    with _new_folder(out) as draft:
        checked, answers = [], {}
        for done, name in enumerate(names):
            progress.progress("export", done, len(names))
            exported = _exported(exact, recipe, name, squares, pictures, with_preprocessing)
            one, said = _write(exported, name, draft, squares, pictures, told, as_run)
            checked.append(one)
            answers[name] = said
        progress.progress("export", len(names), len(names))
        quantised = None
        if int8:
            assert catalogue is not None
            quantised = quantise(
                draft,
                exact,
                validation_images(directory, catalogue),
                progress,
                from_pixels=with_preprocessing,
            )
        val = known_predictions(directory, model.predictions("val"))
        temperature = None
        if val is not None:
            calibration = calibration_of(val, None)
            temperature = calibration.temperature
            chart = reliability_chart(
                reliability_at(val, calibration), clean(recipe.name, 60), results.judged_by
            )
            (draft / RELIABILITY).write_text(chart.svg(), "utf-8", errors="replace")
        bundle = Bundle(
            folder=out,
            model=model.name,
            weights_sha256=file_sha256(weights),
            checked=tuple(checked),
            images=len(squares),
            of_validation=pictures.of_validation,
            images_are=_image_words(results, pictures),
            temperature=temperature,
            int8=quantised,
            promises=promises_of(val, temperature) if val and temperature else (),
        )
        config = _config(recipe, predictor, bundle)
        card = model_card(directory, recipe, results, model, bundle, config, command_line)
        _describe(draft, config, card, bundle, pictures, as_run, answers)
    return bundle


def _image_words(results: Results, pictures: Pictures) -> str:
    if not pictures.of_validation:
        return "made-up pictures, without its data"
    return "labelled images, which taught it" if results.label_folds else "validation images"


@contextlib.contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    missing = [parent for parent in out.parents if not parent.exists()]  # the innermost first
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_folder(out) as draft:
            yield draft
    except BaseException as error:
        for parent in missing:
            with contextlib.suppress(OSError):
                parent.rmdir()
        if not isinstance(error, OSError):
            raise
        raise UserError(
            f"cannot be written: {error.strerror or error}",
            where=f"--out {clean(out)}",
            hint="nothing was kept",
        ) from error


def refuse_missing(names: Sequence[str], *, int8: bool, with_preprocessing: bool) -> None:
    """Refuse what cannot be written here, all at once.

    Raises:
        UserError: no such format, a package that is not installed, or options that do not go together.
    """
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        said = ", ".join(clean(name, 40) for name in unknown) or "nothing"
        raise UserError(f"no format {said}", where="--to", allowed=list(FORMATS))
    if int8 and "onnx" not in names:
        raise UserError("eight-bit integers are written as ONNX", where="--int8", hint="add --to onnx")
    bare = [name for name in names if not FORMATS[name].takes_preprocessing]
    if with_preprocessing and len(bare) == len(names):
        raise UserError(
            f"{', '.join(bare)} holds weights alone",
            where="--with-preprocessing",
            allowed=[name for name, form in FORMATS.items() if form.takes_preprocessing],
        )
    needed = {package for name in names for package in FORMATS[name].needs} | set(INT8 if int8 else ())
    missing = sorted(package for package in needed if importlib.util.find_spec(package) is None)
    if missing:
        extra = "timm" if missing == ["timm"] else "export"
        raise UserError(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed",
            where=f"--to {','.join(names)}",
            hint=f"pip install 'petbench[{extra}]'",
        )


def refuse_unfit(names: Sequence[str], recipe: Recipe) -> None:
    """Refuse formats that cannot hold the run's network, as far as its recipe tells, before any work.

    Raises:
        UserError: names those that can.
    """
    unfit = [name for name in names if len(recipe.model.backbones) > 1 and not FORMATS[name].takes_several]
    if unfit:
        raise UserError(
            f"{', '.join(unfit)} has no network of several trunks side by side "
            f"({clean(recipe.model.backbone_words)})",
            where=f"--to {','.join(names)}",
            allowed=[name for name, form in FORMATS.items() if form.takes_several],
        )


def _in_float32(predictor: Predictor) -> Predictor:
    """The same network as it computes in float32, whatever the run's arithmetic was."""
    trunk = frozen_copy(predictor.classifier.trunk, predictor.form.side, "fp32")
    return replace(predictor, dtype="fp32", trunk=trunk, lower=None)


def _exported(
    predictor: Predictor,
    recipe: Recipe,
    name: str,
    squares: Sequence[Square],
    pictures: Pictures,
    with_preprocessing: bool,
) -> Exported:
    network = ViewsToLogits.of(predictor)
    if with_preprocessing and FORMATS[name].takes_preprocessing:
        module = PixelsToProbabilities(network, predictor.form).eval()
        return Exported(predictor, recipe, module, torch.from_numpy(pictures.pixels[0]))
    return Exported(predictor, recipe, network, torch.from_numpy(views_of(squares[:2], predictor)))


def _write(
    exported: Exported,
    name: str,
    folder: Path,
    squares: Sequence[Square],
    pictures: Pictures,
    told: NDArray[np.float32],
    as_run: NDArray[np.float32],
) -> tuple[Checked, NDArray[np.float32]]:
    """Write one format, ask it about the images, and refuse it where it says otherwise."""
    form = FORMATS[name]
    try:
        files = form.write(exported, folder)
        answers = form.open(exported, folder)
        if exported.has_preprocessing:
            with torch.inference_mode():
                told = np.stack([exported.module(torch.from_numpy(one)).numpy() for one in pictures.pixels])
            said = np.concatenate([answers(pixels) for pixels in pictures.pixels])
        else:
            said = probabilities_of(answers, squares, exported.predictor)
    except UserError:
        raise
    except Exception as error:  # what exporters and runtimes raise of such networks is in no list
        raise UserError(
            f"{clean(exported.predictor.classifier.backbone)} has no {name} form: {clean(error, 300)}",
            where=f"--to {name}",
            allowed=[other for other in FORMATS if other != name],
        ) from error
    difference = float(np.abs(said - told).max())
    from_run = float(np.abs(said - as_run).max())
    if not difference <= MOST:
        raise UserError(
            f"the {name} file answers otherwise than petbench: a probability differs by {difference:.2g}",
            where=f"--to {name}",
            allowed=f"up to {MOST:g}",
            hint="nothing was kept",
        )
    same = int((said.argmax(1) == as_run.argmax(1)).sum())
    size = sum((folder / file).stat().st_size for file in files)
    return Checked(name, exported.has_preprocessing, files, size, difference, from_run, same), said


def probabilities_of(
    answers: Answers, squares: Sequence[Square], predictor: Predictor
) -> NDArray[np.float32]:
    """(B, C) what a network that takes views says of images."""
    logits = torch.from_numpy(answers(views_of(squares, predictor)))
    probabilities: NDArray[np.float32] = torch.softmax(logits, dim=1).numpy()
    return probabilities


def _describe(
    folder: Path,
    config: dict[str, Any],
    card: str,
    bundle: Bundle,
    pictures: Pictures,
    as_run: NDArray[np.float32],
    answers: dict[str, NDArray[np.float32]],
) -> None:
    """Labels, configuration, check and card beside the files."""
    check = {
        "model": bundle.model,
        "weights_sha256": bundle.weights_sha256,
        "images": list(pictures.ids),
        "of_validation": pictures.of_validation,
        "most": MOST,
        "formats": [asdict(one) for one in bundle.checked],
        "petbench": np.round(as_run.astype(float), 6).tolist(),
        "answers": {name: np.round(said.astype(float), 6).tolist() for name, said in answers.items()},
    }
    labels = "".join(f"{name}\n" for name in config["classes"])
    (folder / LABELS).write_text(labels, "utf-8", errors="backslashreplace")
    (folder / CHECK).write_text(json.dumps(check, ensure_ascii=False) + "\n", "utf-8", errors="replace")
    told = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    (folder / CONFIG).write_text(told, "utf-8", errors="replace")
    (folder / CARD).write_text(card, "utf-8", errors="replace")


def _config(recipe: Recipe, predictor: Predictor, bundle: Bundle) -> dict[str, Any]:
    form = predictor.form
    return {
        "model": bundle.model,
        "backbone": list(recipe.model.backbones),
        "classes": list(predictor.classes),
        "image_size": form.side,
        "stored_side": stored_side(predictor.form.side),
        "views": list(form.evaluation),
        "mean": list(form.mean),
        "std": list(form.std),
        "temperature": bundle.temperature,
        "promises": [asdict(one) for one in bundle.promises],
        "weights_sha256": bundle.weights_sha256,
    }
