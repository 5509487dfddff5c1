"""What a run trains on: its images, divided and corrected. Who checks a recipe asks here, as the run does."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.catalogue import Catalogue
from workbench.dataset.corrections import Corrected, apply_corrections
from workbench.dataset.extra import with_extra
from workbench.dataset.kept_catalogue import kept_or_read
from workbench.dataset.listing import Listing
from workbench.dataset.oxford import OXFORD_DIRECTORY as OXFORD_DIRECTORY
from workbench.dataset.oxford import SAMPLE_DIRECTORY as SAMPLE_DIRECTORY
from workbench.dataset.oxford import sample_home as sample_home
from workbench.dataset.reader import listing_reader, reader_of
from workbench.dataset.review import Review, load_review, named_review
from workbench.dataset.split import Chooser, Positions, Split, label_folds, make_split, without_fold
from workbench.recipe import Recipe
from workbench.recipe.data import DATASETS, Data
from workbench.recipe.model import is_weights_file
from workbench.recipe.pseudo_label import LABEL_POLICIES
from workbench.support.clean import clean
from workbench.support.digests import BY_CONTENT, fingerprint
from workbench.support.errors import UserError, nearest
from workbench.support.progress import QUIET, Progress


def open_catalogue(data: Data, *, data_home: Path, reporter: Progress = QUIET) -> Catalogue:
    """Read which images a recipe's data set has, and its extra ones. The sample set is made on its first use.

    Args:
        data: the recipe's [data]; an empty `root` means the data home, for the sample set `sample_home`. A
            given root of an Oxford layout may be that directory or the one that holds `oxford-iiit-pet/`.
        data_home: the directory for data sets, `support.paths.data_home()`.
        reporter: told how far reading is.

    Raises:
        UserError: the data set is not there (says how to get it), or it or its extra images cannot be used.
    """
    root, reader = locate(data, data_home=data_home, reporter=reporter), reader_of(data)
    sources = reader.sources(root, data)
    both = (data.extra_labelled, data.extra_unlabelled)
    extra = [Path(named).expanduser().absolute() for named in both if named]
    if sources is not None:
        sources = replace(sources, folders=(*sources.folders, *extra))
    where = [os.fspath(root), *(text for path in extra for text in (os.fspath(path), _real(path)))]
    return kept_or_read(
        sources,
        [where, _named_data(data)],
        lambda: with_extra(reader.read(root, data, reporter), data, reporter=reporter),
    )


def _real(path: Path) -> str:
    """Where a folder lies; of a name that none can have, itself."""
    return os.path.realpath(path) if os.path.isdir(path) else os.fspath(path)  # noqa: PTH112


def list_images(data: Data) -> Listing:
    """The images of a data set of one's own; none is opened. Raises: UserError, as `open_catalogue`."""
    reader = listing_reader(data)
    if reader is None:
        raise ValueError(f"{data.dataset} lists no images by itself")
    return reader.list(reader.locate(data, data_home=Path(), reporter=QUIET), data)


def locate(data: Data, *, data_home: Path, reporter: Progress = QUIET) -> Path:
    """The data set's own directory, or table; makes the sample set where its directory was left to us.

    Raises:
        UserError: it is not there.
    """
    return reader_of(data).locate(data, data_home=data_home, reporter=reporter)


@dataclass(frozen=True)
class RunData:
    """A recipe's images and what each is for."""

    catalogue: Catalogue
    review: Review
    """Empty where the recipe names no corrections."""
    corrected: Corrected

    @property
    def split(self) -> Split:
        """After corrections."""
        return self.corrected.split


class Catalogues:
    """Opens the catalogues of recipes one after another; the last is kept for recipes of the same data."""

    def __init__(self, data_home: Path, reporter: Progress = QUIET) -> None:
        self._home, self._reporter = data_home, reporter
        self._last: tuple[str, Catalogue] | None = None

    def open(self, data: Data) -> Catalogue:
        """As `open_catalogue`. Raises: UserError."""
        key = _named_data(data)
        if self._last is None or self._last[0] != key:
            self._last = (key, open_catalogue(data, data_home=self._home, reporter=self._reporter))
        return self._last[1]


def _named_data(data: Data) -> str:
    """Equal for tables [data] of which `open_catalogue` makes the same catalogue."""
    named = [data.dataset, data.root, data.target, data.extra_labelled, data.extra_unlabelled]
    of_own = [data.test_fraction, data.split_seed, data.validation] if DATASETS[data.dataset].is_own else []
    return fingerprint([named, of_own, [value for _, value in how_it_is_read(data)]])


def how_it_is_read(data: Data) -> list[tuple[str, str]]:
    """The knobs that say which images of a folder or table are there, and what of: those that are set."""
    knobs = ("class_from", "path_column", "path_pattern", "label_column", "split_column", "group_column")
    return [(knob, getattr(data, knob)) for knob in knobs if getattr(data, knob) is not None]


class DataNow:
    """Whether runs were trained on the images that their recipes name now.

    A recipe names a path; what lies there may have changed since. Each data set is opened once.

    Args:
        say: hears, in a line for people, which runs do not count, and which cannot be told.
    """

    def __init__(self, data_home: Path, say: Callable[[str], None]) -> None:
        self._catalogues, self._say = Catalogues(data_home), say
        self._known: dict[tuple[str, str], bool | None] = {}
        self._told: set[str] = set()

    def __call__(self, runs: Sequence[tuple[Recipe, str, str]]) -> list[bool]:
        """Of each run (recipe, id, the data fingerprint in its provenance) whether it counts as done.

        One of before pictures were told apart by content counts if the names, sizes and lengths are the same;
        one that cannot be compared, since it wrote nothing down or the data are not here, counts too.
        """
        changed: dict[str, list[str]] = {}
        older: list[str] = []
        unknown: list[str] = []
        verdicts = []
        for recipe, id_, written in runs:
            same = self._same(recipe.data, written)
            verdicts.append(same is not False)
            if id_ in self._told:
                continue
            self._told.add(id_)
            if same is False:
                changed.setdefault(recipe.data.root or recipe.data.dataset, []).append(id_)
            elif same is None:
                unknown.append(id_)
            elif not written.startswith(BY_CONTENT):
                older.append(id_)
        for where, ids in changed.items():
            self._say(
                f"the images of {where} have changed: trained on others, {_named_runs(ids)} do not count "
                "as done"
            )
        if older:
            self._say(
                f"{_named_runs(older)} count as done by the names, sizes and lengths of their images alone: "
                "they began before petbench told pictures apart by their content"
            )
        if unknown:
            self._say(f"{_named_runs(unknown)} count as done; their images cannot be compared with today's")
        return verdicts

    def _same(self, data: Data, written: str) -> bool | None:
        """None where it cannot be told."""
        key = _named_data(data), written
        if key not in self._known:
            try:
                self._known[key] = self._catalogues.open(data).has_fingerprint(written) if written else None
            except UserError:
                self._known[key] = None
        return self._known[key]


def _named_runs(ids: Sequence[str]) -> str:
    """The newest by name: of a sweep there may be hundreds."""
    return f"{len(ids)} runs ({ids[0]}{', …' if len(ids) > 1 else ''})"


def divide(
    recipe: Recipe,
    catalogue: Catalogue,
    *,
    typical: Chooser | None = None,
    pinned: Callable[[], Split | None] = lambda: None,
    corrections: Path | None = None,
) -> RunData:
    """Divide a catalogue as the recipe says, lay its corrections over it, and see that a run can train on it.

    Args:
        typical: chooses representative labels; `any_images` where only the numbers matter.
        pinned: reads a run's own division, if it has begun.
        corrections: the review to apply in place of the file that `data.corrections` names.

    Raises:
        UserError: whatever in the recipe does not fit the data.
    """
    data, labels = recipe.data, recipe.pseudo_label
    split = pinned() or make_split(catalogue, data, labels, typical)
    review, corrected = Review(), Corrected(split, catalogue.labels(data.target))
    if data.corrections:
        path = corrections or named_review(data.corrections)
        review = load_review(path)
        corrected = apply_corrections(review, catalogue, split, data.target, where=path)
    check_parts(corrected.split, recipe)
    if typical is not any_images or labels is None or not LABEL_POLICIES[labels.policy].looks_at_images:
        check_label_folds(recipe, catalogue, corrected.split, corrected.taught)
    _check_heads(recipe, catalogue, corrected.split)
    _check_shares(recipe, catalogue)
    return RunData(catalogue, review, corrected)


def network_has_a_say(recipe: Recipe, labelled: int) -> bool:
    """Whether more than images and layer groups may speak against a run: what takes torch to find out.

    Args:
        labelled: how many images are.
    """
    training = recipe.training
    single, guided = training.batch_of(labelled) == 1, training.saliency_weight > 0
    return single or guided or training.compile == "on" or is_weights_file(recipe.model.weights)


def any_images(pool: Positions, count: int) -> Positions:
    """Stands in for a choice by features where it only matters how many are chosen."""
    return pool[:count]


def check_parts(split: Split, recipe: Recipe) -> None:
    """See that every part that the run needs has an image.

    Raises:
        UserError: names the part.
    """
    held_out = () if recipe.data.label_folds is not None else ("validation",)
    for name in ("labelled", *held_out, "test"):
        if not len(getattr(split, name)):
            raise UserError(
                f"no {name} image is left",
                where="[data]",
                hint="petbench data check tells what is there; corrections and images that cannot be read "
                "take images out",
            )
    if recipe.pseudo_label is not None and not len(split.unlabelled):
        raise UserError(
            f"all {len(split.labelled)} training images are labelled: none is left to pseudo-label",
            where="[pseudo_label]",
            hint="label fewer (pseudo_label.labelled_fraction), name more images (data.extra_unlabelled), or "
            "leave the table out for supervised training",
        )


def check_label_folds(recipe: Recipe, catalogue: Catalogue, split: Split, taught: NDArray[np.int64]) -> None:
    """See that the models of the other folds know every class that a fold has to judge.

    Args:
        taught: (N,) classes by position, as training is told them.

    Raises:
        UserError: a class has one labelled image alone, or all of them in one group; all of the pool belongs
            to groups that one fold judges.
    """
    if recipe.data.label_folds is None:
        return
    own = split.labelled[~catalogue.is_extra[split.labelled]]
    classes = catalogue.classes(recipe.data.target)
    folds = label_folds(catalogue, own, taught[own], recipe.data)
    alone = [
        number for number in np.unique(taught[own]).tolist() if len(set(folds[taught[own] == number])) == 1
    ]
    if alone:
        more = f", as have {len(alone) - 1} more classes" if len(alone) > 1 else ""
        what = (
            "one labelled image" if (taught[own] == alone[0]).sum() == 1 else "labelled images of one group"
        )
        raise UserError(
            f"{clean(classes[alone[0]], 80)} has {what}{more}: a model of the other folds would not know it",
            where="data.label_folds",
            allowed="two labels or more of every class that has one",
            hint="label more, or let a few held-out images choose: data.validation_images = 40",
        )
    for fold in np.unique(folds).tolist() if recipe.pseudo_label is not None else ():
        if not len(without_fold(catalogue, split, own[folds == fold]).unlabelled):
            raise UserError(
                "all images of the pool belong to the groups of one fold: the models that judge it would "
                "have none",
                where="data.label_folds",
                hint="set more folds, or let a few held-out images choose: data.validation_images = 40",
            )


def readable_split(
    split: Split, catalogue: Catalogue, readable: Callable[[Positions], Positions], recipe: Recipe
) -> Split:
    """The split with those labelled and validation images alone that can be decoded, which only that tells.

    The other parts are looked at when a run needs them.

    Args:
        readable: of these positions (K,) those whose images can be decoded.

    Raises:
        UserError: a part, or a class's labelled images, are all among those that cannot.
    """
    together = readable(np.concatenate([split.labelled, split.validation]))
    kept = replace(
        split,
        labelled=split.labelled[np.isin(split.labelled, together)],
        validation=split.validation[np.isin(split.validation, together)],
    )
    require_readable(split, kept, catalogue, recipe)
    return kept


def require_readable(split: Split, kept: Split, catalogue: Catalogue, recipe: Recipe) -> None:
    """See that a run can do with what is left of its split.

    Args:
        kept: without images that cannot be decoded.

    Raises:
        UserError: a part, or a class's labelled or test images, are all gone.
    """
    names, labels = catalogue.classes(recipe.data.target), catalogue.labels(recipe.data.target)
    for before, after, what in (
        (split.labelled, kept.labelled, "labelled"),
        (split.test, kept.test, "test"),
    ):
        lost = sorted(set(labels[before].tolist()) - set(labels[after].tolist()) - {-1})
        if lost:
            more = f" (and {len(lost) - 1} more classes so)" if len(lost) > 1 else ""
            count = int((labels[before] == lost[0]).sum())
            raise UserError(
                f"none of the {count} {what} images of {clean(names[lost[0]], 80)} can be decoded{more}",
                where=clean(catalogue.root),
                hint="petbench data check names every image that cannot be read",
            )
    check_parts(kept, recipe)


def named_shares(shares: Mapping[str, float], classes: Sequence[str], where: str) -> NDArray[np.float64]:
    """(C,) float64 class shares that a recipe names; classes that it does not name share what is left, alike.

    Raises:
        UserError: no class has such a name, or the shares do not add up.
    """
    unknown = [name for name in shares if name not in classes]
    if unknown:
        raise UserError(
            f"no class {clean(unknown[0], 80)!r}",
            where=where,
            allowed=[clean(name, 80) for name in classes],
            hint=f"did you mean {clean(close, 80)}?" if (close := nearest(unknown[0], classes)) else "",
        )
    given, rest = sum(shares.values()), [name for name in classes if name not in shares]
    if given > 1 + 1e-6 or (not rest and given < 1 - 1e-6):
        raise UserError(
            f"the shares add up to {given:g}",
            where=where,
            allowed="shares of all classes that add up to 1, or of some that leave a rest for the others",
        )
    left = max(0.0, 1 - given) / max(1, len(rest))
    found = np.array([shares.get(name, left) for name in classes], dtype=np.float64)
    whole: NDArray[np.float64] = found / found.sum()
    return whole


def _check_shares(recipe: Recipe, catalogue: Catalogue) -> None:
    for key in ("prior", "target_prior"):
        shares = getattr(recipe.pseudo_label, key, None)
        if isinstance(shares, dict):
            named_shares(shares, catalogue.classes(recipe.data.target), f"pseudo_label.{key}")


def _check_heads(recipe: Recipe, catalogue: Catalogue, split: Split) -> None:
    guided, cropped = recipe.training.saliency_weight > 0, recipe.data.head_crops == "only"
    if not (guided or cropped):
        return
    if any(catalogue.records[position].head is not None for position in split.labelled.tolist()):
        return
    raise UserError(
        f"none of the {len(split.labelled)} labelled images has a head box to "
        + ("guide training" if guided else "cut out"),
        where="training.saliency_weight" if guided else "data.head_crops",
        allowed=("0" if guided else '"off" or "add"')
        + ", or a data set with the XML files of annotations/xmls",
    )
