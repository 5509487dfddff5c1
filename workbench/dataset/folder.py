"""A folder of images: which of its sub-folders, or of its files' names, are classes, parts and a pool."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.dataset.catalogue import Part
from workbench.dataset.folder_layout import (
    FolderLayout,
    PartFolder,
    files_below,
    no_validation,
    parts_of,
    read_entries,
    read_layout,
    refuse_beside_parts,
    refuse_reserved,
    role_of,
)
from workbench.dataset.kept_catalogue import Sources
from workbench.dataset.listing import (
    ListedImage,
    Listing,
    StrayFile,
    image_id,
    is_image,
    readable,
    refuse_two_spellings,
    stray_file,
    stray_lines,
)
from workbench.dataset.probe import image_endings, why_not_read
from workbench.dataset.reader import ListingReader, add_reader
from workbench.recipe.data import ClassSource, Data, FolderLevels, NamePattern
from workbench.support.class_key import class_key
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.progress import Progress
from workbench.support.toml_text import toml_literal

_LAYOUT = "CLASS/IMAGE or train/CLASS/IMAGE with test/CLASS/IMAGE"
_NO_CLASS = "in no class sub-folder"


@dataclass(frozen=True, slots=True)
class _Found:
    """An image file below a part's folder."""

    path: Path
    folders: tuple[str, ...]
    """Those between the part's folder and the file."""
    part: Part | None


def list_folder(root: Path, data: Data) -> Listing:
    """Every image below `root` whose class is known, and those of the pool, without opening one.

    Parts and pools are told by name, as `read_layout` says, before the classes or within each of them. The
    class is the first folder below, or what `data.class_from` says; images without one are of the pool where
    they would train. An image's id is its path below `root`. Passes over hidden files, and links to
    directories in a class.

    Raises:
        UserError: a layout that is not clear; no images, or fewer than two classes; a pattern that matches
            none; a folder that cannot be read, a class all of whose files are pictures of kinds that are not
            read, one class under two spellings.
    """
    source = data.class_source
    layout = read_layout(root, pool=data.extra_unlabelled, validation=data.validation)
    told: list[str] = []
    if (flat := _to_predict(layout, source)) is not None:
        layout = read_layout(root, pool=data.extra_unlabelled, validation=data.validation, leave=flat)
        count = sum(is_image(path) for path in files_below(flat))
        told.append(
            f"{clean(flat.name, 80)}/ has {count:,} images and no classes: they are to predict, not to test "
            f"(petbench predict RUN {clean(flat)})"
        )
    images: list[ListedImage] = []
    stray: list[StrayFile] = []
    empty: list[str] = []
    for folder in layout.parts:
        found = _files_of_part(folder, layout, source, root, stray, empty)
        images += _with_classes(found, source, root, stray)
        _refuse_without_classes(folder, images, stray, data, root)
    stray += _aside(layout, root)
    told += _words(layout, images, data, root)
    for pool in layout.own_pool:
        below = list(files_below(pool))
        images += [_unlabelled(path, root) for path in below if _is_image_file(path)]
        stray += [_stray(path, root, image_id(pool, root)) for path in below if not _is_image_file(path)]
    images.sort(key=lambda image: image.id)
    stray.sort(key=lambda file: file.id)
    listing = Listing(root, tuple(images), tuple(stray), tuple(sorted(empty)), tuple(told))
    _check_classes(listing, data)
    return listing


def _files_of_part(
    folder: PartFolder,
    layout: FolderLayout,
    source: ClassSource,
    root: Path,
    stray: list[StrayFile],
    empty: list[str],
) -> list[_Found]:
    """The image files below a part's folder; other files go to `stray`, folders without an image to `empty`.

    Parts within classes (`CLASS/train/…`) are told here, if all images of the folder lie in one.
    """
    found: list[_Found] = []
    for entry in read_entries(folder.path):
        if entry in layout.pool or entry in layout.own_pool or entry == layout.left:
            continue
        if not entry.is_dir():
            if _is_image_file(entry):
                found.append(_Found(entry, (), folder.part))
            else:
                stray.append(_stray(entry, root, ""))
            continue
        place = image_id(entry, root)
        below = list(files_below(entry))
        others = [_stray(path, root, place) for path in below if not _is_image_file(path)]
        inside = [path for path in below if _is_image_file(path)]
        if not inside:
            _refuse_unread_class(entry, others, root)
            empty.append(place)
        found += [_Found(path, path.parent.relative_to(folder.path).parts, folder.part) for path in inside]
        stray += others
    return _with_inner_parts(found, folder, layout, root)


def _with_inner_parts(
    found: list[_Found], folder: PartFolder, layout: FolderLayout, root: Path
) -> list[_Found]:
    """The files with the parts that folders within the classes name; as they are where none does.

    Raises:
        UserError: such a folder where the parts are told already, or not all images lie in one.
    """
    named = [[name for name in one.folders if role_of(name) is not None] for one in found]
    if not any(named):
        if layout.validation is not None and not layout.has_parts:
            raise no_validation(layout.validation, root)
        return found
    roles = {role_of(name) for names in named for name in names}
    is_clear = all(len(names) == 1 for names in named) and roles <= {"train", "test", "validation"}
    if folder.path != root or layout.has_parts or not is_clear:
        first = next(one for one, names in zip(found, named, strict=True) if names)
        for depth in range(1, len(first.folders) + 1):
            refuse_reserved(folder.path.joinpath(*first.folders[:depth]), root)
    example: dict[object, Path] = {}
    for one, names in zip(found, named, strict=True):
        depth = one.folders.index(names[0]) + 1
        example.setdefault(role_of(names[0]), folder.path.joinpath(*one.folders[:depth]))
    parts = parts_of(
        example.get("train"), example.get("test"), example.get("validation"), layout.validation, root
    )
    part_of = {role_of(one.path.name): one.part for one in parts}
    return [
        replace(
            one,
            folders=tuple(name for name in one.folders if name != names[0]),
            part=part_of[role_of(names[0])],
        )
        for one, names in zip(found, named, strict=True)
    ]


def _with_classes(
    found: Sequence[_Found], source: ClassSource, root: Path, stray: list[StrayFile]
) -> Iterator[ListedImage]:
    """The images with their classes; those without one are of the pool, or where they would measure stray."""
    for one in found:
        name = _class_name(one, source)
        if name is not None:
            yield ListedImage(image_id(one.path, root), one.path, name, one.part)
        elif one.part in ("train", None):
            yield _unlabelled(one.path, root)
        else:
            stray.append(replace(_stray(one.path, root, ""), why=_NO_CLASS))


def _class_name(found: _Found, source: ClassSource) -> str | None:
    match source:
        case FolderLevels(first, last):
            names = found.folders[first - 1 : last]
            return "/".join(map(readable, names)) if len(found.folders) >= last else None
        case NamePattern(pattern):
            stem = readable(found.path.stem)
            match = pattern.search(stem) or pattern.search(readable(found.path.name))
            return None if match is None else (match[1] or "").strip() or None


def _unlabelled(path: Path, root: Path) -> ListedImage:
    return ListedImage(image_id(path, root), path, None, "unlabelled")


def _is_image_file(path: Path) -> bool:
    return is_image(path) and not path.is_dir()


def _stray(path: Path, root: Path, place: str) -> StrayFile:
    return stray_file(path, image_id(path, root), place)


def _to_predict(layout: FolderLayout, source: ClassSource) -> Path | None:
    """The test folder, if nobody says what its images show, as in a competition's `test/`.

    They lie in no class folder, or all of them in one that is none of the training classes.
    """
    test = next((one.path for one in layout.parts if one.part == "test"), None)
    if test is None:
        return None
    names = {one.path: _names_below(one.path, source) for one in layout.parts}
    own, images = names.pop(test)
    known = {class_key(name) for classes, _ in names.values() for name in classes}
    if not images or len(own) > 1 or any(class_key(name) in known for name in own):
        return None
    return test if len(known) > 1 else None


def _names_below(folder: Path, source: ClassSource) -> tuple[set[str], int]:
    """The classes of a part's images, and how many images it has."""
    classes, images = set(), 0
    for path in files_below(folder):
        if _is_image_file(path):
            name = _class_name(_Found(path, path.parent.relative_to(folder).parts, None), source)
            classes |= {name} if name is not None else set()
            images += 1
    return classes, images


def _words(layout: FolderLayout, images: Sequence[ListedImage], data: Data, root: Path) -> Iterator[str]:
    """How the folder was understood; nothing of plain class folders."""
    counts = {
        part: sum(image.part == part for image in images) for part in ("train", "validation", "test", None)
    }
    does = {"train": "train", None: "train", "validation": "validate", "test": "test"}
    if layout.has_parts or counts["train"] or counts["validation"]:
        told = [f"{count:,} images {does[part]}" for part, count in counts.items() if count]
        where = ", ".join(f"{clean(one.path.name, 40)}/" for one in layout.parts if one.path != root)
        yield f"{where or 'folders within the classes'}: {', '.join(told)}"
    loose = [image for image in images if image.class_name is None]
    known = len(images) - len(loose)
    if data.class_from is not None:
        yield f"classes from {clean(data.class_from, 80)}: {known:,} of {len(images):,} images have one"
    if loose and known:
        yield (
            f"{len(loose):,} images have no class, such as {clean(loose[0].id, 80)}: they are the pool, "
            "which [pseudo_label] learns from"
        )
    for pool in layout.own_pool:
        count = sum(_is_image_file(path) for path in files_below(pool))
        yield f"{clean(pool.name, 80)}/: {count:,} images without a class, the pool of [pseudo_label]"


def _aside(layout: FolderLayout, root: Path) -> list[StrayFile]:
    """What lies beside the parts, where it has no images."""
    found: list[StrayFile] = []
    with_images: list[Path] = []
    for entry in layout.aside:
        files = list(files_below(entry)) if entry.is_dir() else [entry]
        if entry.is_dir() and any(is_image(path) for path in files):
            with_images.append(entry)
        found += [_stray(path, root, image_id(entry, root) if entry.is_dir() else "") for path in files]
    refuse_beside_parts(with_images, layout.parts, root)
    return found


def _refuse_unread_class(folder: Path, others: list[StrayFile], root: Path) -> None:
    """A class must not vanish because its pictures are of kinds that are not read."""
    pictures = [file for file in others if why_not_read(file.kind)]
    if pictures:
        raise UserError(
            f"none of the images of {clean(image_id(folder, root), 80)} can be read: "
            + "; ".join(stray_lines(pictures)),
            where=clean(root),
            hint="or move the folder out of the data set, if it shall do without this class",
        )


def _refuse_without_classes(
    folder: PartFolder, images: list[ListedImage], stray: list[StrayFile], data: Data, root: Path
) -> None:
    """A part none of whose images has a class says nothing of them."""
    inside = [image for image in images if image.path.is_relative_to(folder.path)]
    if any(image.class_name is not None for image in inside):
        return
    name, part = clean(folder.path.name, 80), folder.part
    if part is None and folder.path == root:
        return  # told with all that is wrong with a folder without classes
    loose = [file for file in stray if file.why == _NO_CLASS and _lies_in(file, folder.path, root)]
    if count := len(loose) + len(inside):
        told = "in a class sub-folder" if data.class_from is None else "has a class"
        raise UserError(
            f"{name}/ has {count} images, none {told}: nobody says what these images show",
            where=clean(root),
            allowed=f"{name}/CLASS/IMAGE" if data.class_from is None else "",
        )
    raise UserError(
        f"{name}/ has no image in any class sub-folder",
        where=clean(root),
        allowed=f"{name}/CLASS/IMAGE; images end in " + " ".join(sorted(image_endings())),
        hint=f"remove {name}/ if it shall be empty" if part in ("test", "validation") else "",
    )


def _lies_in(file: StrayFile, folder: Path, root: Path) -> bool:
    return file.id.rpartition("/")[0] == image_id(folder, root)


def _check_classes(listing: Listing, data: Data) -> None:
    root = listing.root
    refuse_two_spellings(listing)
    if not listing.classes:
        raise _no_classes(listing, data)
    if len(listing.classes) < 2:
        only = next(image for image in listing.images if image.class_name is not None)
        raise UserError(
            f"only one class, {clean(only.class_name or '')}; a classifier needs two",
            where=clean(root),
            allowed=_LAYOUT,
            hint=_deeper(listing, root) if data.class_from is None else "",
        )
    trained = {image.class_name for image in listing.images if image.part in ("train", None)}
    untrained = [clean(name, 80) for name in listing.classes if name not in trained]
    if untrained:
        rest = f" and {len(untrained) - 5} more" if len(untrained) > 5 else ""
        named = ", ".join(untrained[:5]) + rest
        one = next(image for image in listing.images if clean(image.class_name or "", 80) == untrained[0])
        elsewhere = f"{clean(one.path.relative_to(root).parts[0], 80)}/{untrained[0]}/"
        raise UserError(
            f"classes without a training image: {named}",
            where=clean(root),
            hint=f"put images to learn from into {clean(_training_folder(listing, root), 80)}/"
            f"{untrained[0]}/, or move {elsewhere} out of data.root",
        )


def _no_classes(listing: Listing, data: Data) -> UserError:
    """Why a folder has no classes, and what may be meant."""
    loose = listing.images
    if data.class_from is not None and loose:
        shown = ", ".join(clean(image.id, 60) for image in loose[:3])
        return UserError(
            f"class_from = {toml_literal(data.class_from)} matches none of {len(loose):,} images, such as "
            f"{shown}",
            where=clean(listing.root),
            allowed="folder:1 for the first folder below, folder:1-2 for the first two, name: and a pattern "
            "with one group for files' names",
        )
    over = "".join(f"; {line}" for line in listing.passed_over[:5])
    count = f"; {len(loose):,} images in none" if loose else ""
    return UserError(
        f"no images in any class sub-folder{count}{over}",
        where=clean(listing.root),
        allowed=f"{_LAYOUT}; images end in " + " ".join(sorted(image_endings())),
        hint="classes in the files' names are read by data.class_from, those of a list by data.dataset = "
        '"table"'
        if loose
        else "",
    )


def _training_folder(listing: Listing, root: Path) -> str:
    """The name of the folder of the training part, which a listing with a test part has."""
    trained = (image for image in listing.images if image.part in ("train", None))
    return next((image.path.relative_to(root).parts[0] for image in trained), "train")


def _deeper(listing: Listing, root: Path) -> str:
    """Where the classes may be meant to begin, if the one folder holds several."""
    top = {image.path.relative_to(root).parts[0] for image in listing.images}
    inner = {image.path.relative_to(root).parts[1] for image in listing.images if image.path.parent != root}
    folders = {name for name in inner if len(top) == 1 and (root / next(iter(top)) / name).is_dir()}
    return (
        f"point data.root at {clean(root / next(iter(top)))} if its folders are the classes"
        if len(folders) > 1
        else ""
    )


class FolderReader(ListingReader):
    """Class sub-folders."""

    classes_are_folders = True

    def locate(self, data: Data, *, data_home: Path, reporter: Progress) -> Path:
        """The folder. Raises: UserError: it is not there, or none."""
        given = Path(data.root).expanduser().absolute()
        if not os.path.isdir(given):  # noqa: PTH112 (no name is too long for it)
            raise UserError(
                "it is no directory" if os.path.lexists(given) else "no such directory",
                where=f"data.root: {clean(given)}",
                hint="set data.root to the directory that holds the class sub-folders",
            )
        return given

    def list(self, root: Path, data: Data) -> Listing:
        """As `list_folder`."""
        return list_folder(root, data)

    def sources(self, root: Path, data: Data) -> Sources:
        """The folder."""
        return Sources((root,))


add_reader("folder", FolderReader())
