"""From a recipe's [data] to the catalogue of its images."""

from __future__ import annotations

import os
from pathlib import Path

from workbench.dataset.catalogue import Catalogue
from workbench.dataset.extra import with_extra
from workbench.dataset.folder import read_folder
from workbench.dataset.oxford import is_oxford, read_oxford
from workbench.recipe.data import Data
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.paths import cache_home
from workbench.support.progress import QUIET, Progress

OXFORD_DIRECTORY = "oxford-iiit-pet"
SAMPLE_DIRECTORY = "petbench-sample"


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
    root = locate(data, data_home=data_home, reporter=reporter)
    if data.dataset == "folder":
        catalogue = read_folder(
            root,
            test_fraction=data.test_fraction,
            split_seed=data.split_seed,
            validation=data.validation,
            pool=data.extra_unlabelled,
            reporter=reporter,
        )
    else:
        catalogue = read_oxford(root, dataset=data.dataset, reporter=reporter)
    return with_extra(catalogue, data, reporter=reporter)


def locate(data: Data, *, data_home: Path, reporter: Progress = QUIET) -> Path:
    """The data set's own directory; makes the sample set where its directory was left to us.

    Raises:
        UserError: it is not there.
    """
    given = Path(data.root).expanduser().absolute() if data.root else None
    if data.dataset == "folder":
        if given is None or not os.path.isdir(given):  # noqa: PTH112 (no name is too long for it)
            is_file = given is not None and os.path.lexists(given)
            raise UserError(
                "it is no directory" if is_file else "no such directory",
                where=f"data.root: {clean(given or '')}",
                hint="set data.root to the directory that holds the class sub-folders",
            )
        return given
    if data.dataset == "sample" and given is None:
        from workbench.dataset.sample import ensure_sample

        return ensure_sample(sample_home(data_home), reporter=reporter)
    name = OXFORD_DIRECTORY if data.dataset == "oxford-iiit-pet" else SAMPLE_DIRECTORY
    candidates = [given, given / name] if given else [data_home / name]
    for candidate in candidates:
        if is_oxford(candidate):
            return candidate
    if data.dataset == "sample":
        raise UserError(
            "no sample set here (no images/ and annotations/)",
            where=clean(given),
            hint=f"petbench data sample {clean(given)} makes one; an empty data.root has one drawn",
        )
    raise UserError(
        f"the Oxford-IIIT Pet set is not there: no {name}/ with images/ and annotations/",
        where=clean(given or data_home),
        hint="petbench data get downloads it (about 800 MB); or copy it there, or name the directory that "
        f"holds {name}/ with --data-dir or PETBENCH_DATA",
    )


def sample_home(data_home: Path) -> Path:
    """Where the sample set lies, or will be drawn: one in the data home, else a directory of the cache.

    A data home may be read-only, or shared: nothing is drawn there unless `petbench data sample` was told so.
    """
    from workbench.dataset.sample import holds_sample

    own = data_home / SAMPLE_DIRECTORY
    return own if holds_sample(own) else cache_home() / SAMPLE_DIRECTORY
