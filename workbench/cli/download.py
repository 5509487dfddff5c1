"""Get the Oxford-IIIT Pet set: torchvision's addresses, download and checksums, our unpacking."""

from __future__ import annotations

import shutil
import socket
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.dataset.oxford import is_oxford
from workbench.dataset.run_data import OXFORD_DIRECTORY
from workbench.support.clean import clean
from workbench.support.download import download_failure
from workbench.support.errors import UserError
from workbench.support.locks import beside, locked
from workbench.support.units import human_bytes

NEEDED_BYTES = 1_800_000_000
"""Both archives (0.81 GB) and what is in them, side by side for a moment."""

_SILENCE_SECONDS = 60.0
"""A server that says nothing for so long counts as gone; urllib alone would wait for ever."""


def download_oxford(data_home: Path) -> bool:
    """Put the set into `data_home/oxford-iiit-pet`; False when it was there already.

    Everything happens in a directory beside it, renamed at the end, so that an interrupted download never
    looks like a data set. Archives that arrived whole are kept until then, and are not downloaded again.

    Raises:
        UserError: no network, a wrong checksum, too little disk, or something else is in that place.
    """
    target = data_home / OXFORD_DIRECTORY
    if is_oxford(target):
        return False
    staging = data_home / f".{OXFORD_DIRECTORY}.download"
    try:
        staging.mkdir(parents=True, exist_ok=True)
        with locked(beside(target), stays=False):
            if is_oxford(target):
                return False
            _refuse_foreign(target)
            _check_space(data_home)
            unpacked = staging / OXFORD_DIRECTORY
            shutil.rmtree(unpacked, ignore_errors=True)
            for archive in _download(staging):
                _unpack(archive, unpacked)
            _accept(staging)
            if target.exists():
                target.rmdir()
            unpacked.rename(target)
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"cannot write the data set: {error.strerror or error}", where=clean(data_home)
        ) from None
    return True


def _refuse_foreign(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(
            "something is there, but it lacks images/ or annotations/",
            where=clean(target),
            hint="move it away, then petbench data get again",
        )


def _check_space(data_home: Path) -> None:
    free = shutil.disk_usage(data_home).free
    if free < NEEDED_BYTES:
        raise UserError(
            f"{human_bytes(free)} free, about {human_bytes(NEEDED_BYTES)} needed",
            where=clean(data_home),
            hint="free some space, or name another place with --data-dir",
        )


def _download(staging: Path) -> list[Path]:
    """Fetch both archives; one whose checksum is right already is not fetched again."""
    from torchvision.datasets import OxfordIIITPet
    from torchvision.datasets.utils import download_url

    archives = []
    for url, md5 in OxfordIIITPet._RESOURCES:
        try:
            with _impatient():
                download_url(url, staging, md5=md5)
        except (OSError, RuntimeError, RecursionError) as error:
            # URLError and HTTPError are OSErrors; torchvision raises RuntimeError for a wrong checksum.
            what, advice = download_failure(error, url)
            raise UserError(
                f"the download failed: {what}",
                where=url,
                hint=f"{advice}; or download both archives elsewhere, unpack them into one directory "
                f"{OXFORD_DIRECTORY} (images/ and annotations/) and copy it to {clean(staging.parent)}",
            ) from None
        archives.append(staging / url.rsplit("/", 1)[-1])
    return archives


@contextmanager
def _impatient() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _unpack(archive: Path, directory: Path) -> None:
    """Unpack with the `data` filter (PEP 706): no absolute paths, no `..`, no links out, no devices.

    Ours rather than torchvision's, whose older releases unpack without a filter.
    """
    if not hasattr(tarfile, "data_filter"):
        raise UserError("this Python cannot unpack archives safely", allowed="Python 3.11.4 or newer")
    try:
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(directory, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise UserError(
            f"the archive cannot be unpacked: {clean(error, 200)}", where=clean(archive)
        ) from None


def _accept(staging: Path) -> None:
    """Insist that torchvision's own reader takes both parts of what was unpacked."""
    from torchvision.datasets import OxfordIIITPet

    try:
        for part in ("trainval", "test"):
            OxfordIIITPet(staging, split=part)
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(
            f"what was downloaded is not the data set: {clean(error, 200)}", where=clean(staging)
        ) from None
