"""Weights in and out of files: tensors only, whole, fitting, and known by a fingerprint."""

from __future__ import annotations

import hashlib
import pickle
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from workbench.model.architecture import Architecture, Tensors
from workbench.model.classifier import ImageClassifier, PublishedHead
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.fingerprint import file_sha256

# What training scripts wrap a state dict in.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_COUNTER = "num_batches_tracked"
_SHOWN = 4
_PICKLED_OBJECT = re.compile(r"Unsupported global: GLOBAL (\S+)")
_HASH_IN_NAME = re.compile(r"-([a-f0-9]{8,64})\.")


def read_tensors(path: Path) -> Tensors:
    """The tensors of a .safetensors, .pth or .pt file, on the CPU; no code in it is ever run.

    A zip archive, which is what torch writes, has its checksums verified: torch itself would load flipped
        bits.

    Raises:
        UserError: if there is no such file, or it is damaged, holds anything besides tensors, or a number
            that is not finite.
    """
    where = clean(path)
    if not path.is_file():
        what = "is a directory, not a file" if path.is_dir() else "no such weights file"
        raise UserError(what, where=where, allowed="a .safetensors, .pth or .pt file")
    try:
        content = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_torch(path)
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", where=where) from error
    tensors = _only_tensors(content, where)
    for name, value in tensors.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise UserError(f"the tensor {clean(name, 80)} holds NaN or infinity", where=where)
    return tensors


def hash_prefix(path: Path) -> str | None:
    """The first digits of the file's SHA-256 that its name ends with, as torch.hub has it; None without."""
    match = _HASH_IN_NAME.search(path.name)
    return match.group(1) if match else None


def refuse_if_not_named_by_hash(path: Path) -> None:
    """Check a file against the first digits of its SHA-256 that its name ends with, as torchvision's do.

    Raises:
        UserError: if they differ: the file is damaged, or not what its name says.
    """
    named = hash_prefix(path)
    if named and not file_sha256(path).startswith(named):
        raise UserError(
            "the weights file is damaged: its SHA-256 is not the one in its name",
            where=clean(path),
            hint=f"delete {clean(path)}; the next run downloads it again",
        )


def load_weights(
    classifier: ImageClassifier, architecture: Architecture, tensors: Tensors, *, source: str
) -> None:
    """Fill the classifier from a published file of its backbone, or from a petbench classifier's state dict.

    A published file's own head becomes `published_head`. A petbench file's head is kept where it has as many
    classes, else the fresh one stays.

    Args:
        tensors: names -> values of any float dtype.
        source: the file or the weights' name, for the error.

    Raises:
        UserError: naming the missing, unexpected and misshaped tensors.
    """
    whole = any(name.startswith("trunk.") for name in tensors)
    if whole:
        trunk = _below("trunk", tensors)
        head = _below("head", tensors)
        strangers = [name for name in tensors if not name.startswith(("trunk.", "head."))]
    else:
        kept = {name: value for name, value in tensors.items() if not _is_in(name, architecture.discards)}
        trunk, head, strangers = dict(architecture.translate(kept)), {}, []
        classifier.published_head = _published_head(architecture, tensors)
    _refuse_misfits(classifier, trunk, strangers, source)
    # Files without batch counters (converted, or old) keep the fresh network's zeros.
    state = classifier.trunk.state_dict()
    state.update(trunk)
    # MNASNet decides by the version in these metadata whether a file has its old, unscaled stem.
    state._metadata = getattr(tensors, "_metadata", None) or state._metadata  # type: ignore[attr-defined]
    classifier.trunk.load_state_dict(state)
    if {name: value.shape for name, value in head.items()} == {
        name: value.shape for name, value in classifier.head.state_dict().items()
    }:
        classifier.head.load_state_dict(head)


def _published_head(architecture: Architecture, tensors: Tensors) -> PublishedHead | None:
    """The one linear layer on the trunk's features among what the trunk has no place for."""
    found = [
        PublishedHead(weight.float(), bias.float())
        for prefix in architecture.discards
        if (weight := tensors.get(f"{prefix}.weight")) is not None
        and (bias := tensors.get(f"{prefix}.bias")) is not None
        and weight.ndim == 2
        and weight.shape[1] == architecture.feature_width
    ]
    return found[0] if found else None


def weights_id(classifier: ImageClassifier) -> str:
    """SHA-256 in hex over the backbone's name and the trunk's tensors: equal ids compute equal features.

    Batch counters are left out, since no feature depends on them.
    """
    digest = hashlib.sha256(classifier.backbone.encode())
    for name, value in sorted(classifier.trunk.state_dict().items()):
        if _last(name) == _COUNTER:
            continue
        whole = value.detach().cpu().contiguous()
        digest.update(f"\n{name} {whole.dtype} {tuple(whole.shape)}\n".encode())
        digest.update(memoryview(whole.reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()


def _read_safetensors(path: Path) -> object:
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise UserError(
            f"not a safetensors file, or a damaged one: {clean(error, 200)}", where=clean(path)
        ) from error


def _read_torch(path: Path) -> object:
    is_zip = zipfile.is_zipfile(path)
    try:
        if is_zip:
            with zipfile.ZipFile(path) as archive:
                bad = archive.testzip()
            if bad is not None:
                raise UserError(
                    f"the file is damaged: the checksum of {clean(bad, 80)} is wrong", where=clean(path)
                )
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        # The rest of torch's message advises to load without weights_only, which would run the file's code.
        found = _PICKLED_OBJECT.search(str(error))
        what = f" ({clean(found.group(1), 80)})" if found else ""
        raise UserError(
            f"not a weights file, a damaged one, or one with Python objects besides tensors{what}",
            where=clean(path),
            allowed="a state dict of tensors, as torch.save(model.state_dict(), path) writes",
        ) from error
    except (UserError, OSError):
        raise
    except Exception as error:
        # On damaged bytes the readers raise nearly anything: RuntimeError, KeyError, struct.error …
        raise UserError(
            f"not a weights file, or a damaged one: {clean(error, 200)}", where=clean(path)
        ) from error


def _only_tensors(content: object, where: str) -> Tensors:
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content:
        raise UserError(
            f"holds {'nothing' if content == {} else 'a ' + type(content).__name__}, not named tensors",
            where=where,
        )
    odd = [
        name for name, value in content.items() if not (isinstance(name, str) and isinstance(value, Tensor))
    ]
    if odd:
        raise UserError(
            f"{_some(odd)}: not tensors", where=where, allowed="a state dict of named tensors alone"
        )
    if all(name.startswith("module.") for name in content):
        return {name.removeprefix("module."): value for name, value in content.items()}
    return content


def _refuse_misfits(
    classifier: ImageClassifier, trunk: dict[str, Tensor], strangers: list[str], source: str
) -> None:
    wanted = classifier.trunk.state_dict()
    missing = [name for name in wanted if name not in trunk and _last(name) != _COUNTER]
    unexpected = [name for name in trunk if name not in wanted] + strangers
    misshaped = [
        f"{name} {tuple(trunk[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if name in trunk and trunk[name].shape != wanted[name].shape
    ]
    faults = [
        f"{len(names)} {kind}: {_some(names)}"
        for kind, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshaped))
        if names
    ]
    if faults:
        raise UserError(
            f"the weights do not fit {classifier.backbone}; tensors {'; '.join(faults)}",
            where=clean(source),
            hint="model.backbone must be the network that the file was made from",
        )


def _some(names: Iterable[Any]) -> str:
    listed = [clean(name, 100) for name in names]
    rest = len(listed) - _SHOWN
    return ", ".join(listed[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _below(prefix: str, tensors: Tensors) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def _is_in(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1]
