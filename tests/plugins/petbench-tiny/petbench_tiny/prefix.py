"""A data set: pictures in one folder, each named CLASS-ANYTHING.png."""

from pathlib import Path

from workbench.dataset.listing import ListedImage, Listing, image_id
from workbench.dataset.reader import ListingReader, add_dataset
from workbench.recipe.data import Data, DatasetKind


class PrefixReader(ListingReader):
    """The class is what stands before the hyphen; test images are held out."""

    def list(self, root: Path, data: Data) -> Listing:
        """All pictures of the folder."""
        files = sorted(root.glob("*-*.png"))
        images = (
            ListedImage(image_id(file, root), file, class_name=file.name.partition("-")[0], part=None)
            for file in files
        )
        return Listing(root, tuple(images))


KIND = DatasetKind("pictures named by their class", root="the folder of pictures named CLASS-ANYTHING.png")
add_dataset("prefix", KIND, PrefixReader())
