"""`model-card.md`: what a model is, what it was taught, how good it is, where it errs, how it is used.

After Mitchell et al. 2019, "Model Cards for Model Reporting".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.export.usage import from_pixels, from_views, images_from_a_picture, views_words
from workbench.model.family import family_of
from workbench.recipe import Recipe
from workbench.runs.abstaining import RISK, Promise, percent_words
from workbench.runs.export import markdown_table
from workbench.runs.intervals import of_share
from workbench.runs.layout import RunDirectory
from workbench.runs.results import Evaluated, Evaluation, Results, most_confused
from workbench.runs.values import number_words
from workbench.support.clean import as_word, clean
from workbench.support.units import human_bytes, in_percent, interval_words

if TYPE_CHECKING:
    from workbench.export.bundle import Bundle

_CONFUSED = 10
_LOWEST = 5


def model_card(
    directory: RunDirectory,
    recipe: Recipe,
    results: Results,
    model: Evaluated,
    bundle: Bundle,
    config: Mapping[str, Any],
    command_line: Sequence[str],
) -> str:
    """The card of a run's model as Markdown; names from outside carry no control characters and no markup."""
    return "\n".join(_lines(directory, recipe, results, model, bundle, config, command_line)) + "\n"


def _lines(
    directory: RunDirectory,
    recipe: Recipe,
    results: Results,
    model: Evaluated,
    bundle: Bundle,
    config: Mapping[str, Any],
    command_line: Sequence[str],
) -> Iterator[str]:
    yield f"# {_text(recipe.name)}"
    yield ""
    yield _text(recipe.description) or f"A classifier of {len(results.classes)} classes."
    yield ""
    weights = bundle.weights_sha256[:16]
    yield f"Made by petbench of {_whose(model)} {_text(directory.id)}; weights `{weights}`."
    yield ""
    yield "## What it is"
    yield ""
    yield f"- network: {_text(recipe.model.backbone_words)}"
    yield f"- {len(results.classes)} classes, in the order of `labels.txt`"
    yield f"- images: {config['image_size']} pixels a side, {views_words(config['views'])}"
    whole = "" if model.name == "model" else " in all"  # of teacher and students together
    seconds = f"{results.training_seconds:,.0f} s{whole}"
    yield f"- trained: {_text(_learned(recipe))}, {seconds}, {results.precision}"
    yield f"- licence of the pretrained weights: {_licence(recipe)}"
    yield ""
    yield "## What it was taught"
    yield ""
    labelled = f"{results.labelled:,} labelled images{_extra(results.extra_labelled)}"
    yield f"- {labelled} of {results.classes_covered} of {len(results.classes)} classes"
    if results.unlabelled and model.name != "teacher":
        strategy = "" if recipe.pseudo_label is None else f", by `{recipe.pseudo_label.strategy}`"
        yield f"- {results.unlabelled:,} images without a label{_extra(results.extra_unlabelled)}{strategy}"
    chosen = "its epochs and rounds" if model.name == "student" else "its epochs"
    if results.label_folds:
        yield f"- no labelled image more: the same chose among {chosen}, in {results.label_folds} folds"
    else:
        yield f"- {results.labels.choosing:,} labelled images more chose among {chosen}"
    yield ""
    yield "## How good it is"
    yield ""
    rows = [
        _row(f"{results.judged_by}, which chose it", model.val),
        _row("test images, looked at once", model.test),
    ]
    yield _table(("images", "number", "accuracy", "95 % interval", "macro F1", "calibration error"), rows)
    if bundle.temperature is not None:
        yield f"Divide logits by {bundle.temperature:.3f} for the confidence that is right on"
        yield f"{results.judged_by}."
        yield ""
        yield "![of images of like confidence, how many are right](reliability.svg)"
        yield ""
        yield from _promises(bundle.promises, results)
    if bundle.int8 is not None:
        cut = bundle.int8
        size = human_bytes(cut.bytes)
        yield f"`{cut.file}` in eight-bit integers ({size}), calibrated on {cut.calibrated_on} of the"
        yield f"{bundle.images_are}: {in_percent(cut.accuracy)} of all {cut.images:,} right,"
        yield f"{in_percent(cut.accuracy_before)} before; the same class on {cut.same_class:,}."
        yield ""
    yield "## Where it errs"
    yield ""
    pairs = most_confused(model.test.confusion, results.classes, _CONFUSED)
    if pairs:
        yield _table(
            ("true class", "taken for", "test images", "of the class"),
            [[pair.true, pair.predicted, pair.count, in_percent(pair.share, 0)] for pair in pairs],
        )
        yield ""
    known = [(r, name) for r, name in zip(model.test.recall, results.classes, strict=True) if r is not None]
    lowest = ", ".join(f"{_text(name)} {in_percent(recall, 0)}" for recall, name in sorted(known)[:_LOWEST])
    yield f"Lowest recall on test images: {lowest}."
    yield ""
    yield "## How to use it"
    yield ""
    yield from _use(bundle, config)
    yield "## The files, tried"
    yield ""
    yield f"Each file was opened again and asked about {bundle.images} {bundle.images_are};"
    yield "`check.json` has all answers."
    yield ""
    yield _table(
        ("format", "files", "bytes", "largest difference", "from the run's own answers", "same class"),
        [
            [
                one.format,
                ", ".join(one.files),
                one.bytes,
                f"{one.difference:.1e}",
                f"{one.from_run:.1e}",
                f"{one.same_class} of {bundle.images}",
            ]
            for one in bundle.checked
        ],
    )
    yield "## Limits"
    yield ""
    yield "It names one of its own classes for every picture, also for one of something else."
    yield "Its accuracy holds for pictures like those it was tested on; for others, label some and measure."
    for warning in results.warnings:
        yield f"- {_text(warning)}"
    yield ""
    yield "## How it was made"
    yield ""
    yield "```sh"
    yield " ".join(as_word(word) for word in command_line)
    yield "```"


def _promises(promises: Sequence[Promise], results: Results) -> Iterator[str]:
    """From which confidence on the model is right how often, as far as validation can promise it."""
    rows: list[list[object]] = []
    for one in promises:
        found = one.threshold
        if found is None:
            rows.append([percent_words(one.sure), "too few images to promise it", "–", "–"])
        else:
            reached = f"{found.images:,} of {found.of:,}"
            rows.append([percent_words(one.sure), f"{found.confidence:.4g}", reached, found.wrong])
    yield f"From some confidence on an answer is right that often, promised with {percent_words(1 - RISK)}"
    yield "confidence for images like these; below it the model had better not say:"
    yield ""
    yield _table(("right", "from this confidence on", results.judged_by, "wrong"), rows)


def _whose(model: Evaluated) -> str:
    match model.name, model.is_final:
        case "teacher", True:
            return "the teacher, which no student beat on validation, of its run"
        case "teacher", False:
            return "the teacher, as it was before pseudo-labels and is not the final model, of its run"
        case _:
            return "its run"


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The table and an empty line."""
    return markdown_table(columns, rows)


def _row(name: str, on: Evaluation) -> list[object]:
    return [
        name,
        on.images,
        in_percent(on.accuracy),
        f"{interval_words(of_share(on.accuracy, on.images))} %",
        in_percent(on.macro_f1),
        number_words("calibration_error", on.calibration_error),
    ]


def _use(bundle: Bundle, config: Mapping[str, Any]) -> Iterator[str]:
    """Lines of Python for every format that was written; of several each under its name."""
    with_views = [one.format for one in bundle.checked if not one.from_pixels]
    if with_views:
        yield from images_from_a_picture(config)
    for one in bundle.checked:
        if len(bundle.checked) > 1:
            yield f"### {one.format}"
            yield ""
        yield from from_pixels(one.format) if one.from_pixels else from_views(one.format, config)


def _learned(recipe: Recipe) -> str:
    layers = recipe.finetune.layers
    return "all layers" if layers == "all" else " + ".join([layers] if isinstance(layers, str) else layers)


def _extra(count: int | None) -> str:
    return f" ({count:,} of them extra)" if count else ""


def _licence(recipe: Recipe) -> str:
    if recipe.model.weights == "none":
        return "none: it began from random weights"
    if recipe.model.weights != "default":
        return "that of the file or the weights named in the recipe"
    return "; ".join(dict.fromkeys(family_of(name).licence(name) for name in recipe.model.backbones))


def _text(value: str) -> str:
    """Text from outside as one line without markup."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in clean(value))
