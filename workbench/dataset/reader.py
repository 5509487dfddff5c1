"""Who reads a data set: a reader by the name that `data.dataset` has for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from workbench.dataset.catalogue import Catalogue
from workbench.dataset.kept_catalogue import Sources
from workbench.dataset.listing import Listing, catalogue_of
from workbench.recipe.data import DATASETS, Data, DatasetKind
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.plugins import Registry
from workbench.support.progress import Progress


class Reader(ABC):
    """Finds a data set and reads which images it has. It registers itself with `add_reader`."""

    def locate(self, data: Data, *, data_home: Path, reporter: Progress) -> Path:
        """Its directory or file: what `data.root` names.

        Raises:
            UserError: it is not there.
        """
        place = Path(data.root).expanduser().absolute()
        if not place.exists():
            raise UserError(
                "no such file or directory",
                where=f"data.root: {clean(place)}",
                hint=f"set data.root to {DATASETS[data.dataset].root or 'where the data set lies'}",
            )
        return place

    @abstractmethod
    def read(self, root: Path, data: Data, reporter: Progress) -> Catalogue:
        """Every image that can be used; the others are left out by name.

        Args:
            root: what `locate` found.

        Raises:
            UserError: there is nothing to train on.
        """

    def sources(self, root: Path, data: Data) -> Sources | None:
        """What the catalogue hangs on besides its images, so that it can be kept. None: it is read each time.

        Args:
            root: what `locate` found.
        """
        return None


class ListingReader(Reader):
    """Of a data set of one's own (`DatasetKind.is_own`): it lists images by class, and opens none."""

    classes_are_folders = False
    """Whether images lie in a folder of their class, so that folders within one are worth a remark."""

    @abstractmethod
    def list(self, root: Path, data: Data) -> Listing:
        """The images with their classes and, where it says so, parts.

        Raises:
            UserError: it cannot be understood, or one class has two names.
        """

    def read(self, root: Path, data: Data, reporter: Progress) -> Catalogue:
        """As listed, where the header can be read."""
        return catalogue_of(self.list(root, data), data, reporter)


READERS: Registry[Reader] = Registry("reader of data sets", ["workbench.dataset"], "petbench.datasets")


def add_reader(name: str, reader: Reader) -> None:
    """Register the reader of a data set that `DATASETS` knows, or will know."""
    READERS.add(name, reader)


def add_dataset(name: str, kind: DatasetKind, reader: ListingReader) -> None:
    """Register a data set of one's own with its reader: a recipe may then say `data.dataset = "name"`."""
    DATASETS.add(name, kind)
    add_reader(name, reader)


def reader_of(data: Data) -> Reader:
    """Of a recipe's data set."""
    return READERS[data.dataset]


def listing_reader(data: Data) -> ListingReader | None:
    """Of a data set of one's own; None of another."""
    reader = reader_of(data)
    return reader if isinstance(reader, ListingReader) else None
