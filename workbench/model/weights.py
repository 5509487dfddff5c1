"""Weights from files: tensors only, whole, fitting whatever they are wrapped in, known by a fingerprint."""

from __future__ import annotations

import hashlib
import itertools
import json
import pickle
import re
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from workbench.model.classifier import Architecture, ImageClassifier, PublishedHead, Tensors, TrunkPart
from workbench.support.clean import clean
from workbench.support.digests import file_sha256
from workbench.support.errors import UserError
from workbench.support.toml_text import toml_literal

# What torch's wrappers put between a module and its parts, wherever they were used.
_BETWEEN = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
# Averages of weights over training: exponential, or stochastic weight averaging's.
_AVERAGE = re.compile(r"(?:^|[._])(?:ema|swa|averaged?|shadow)(?:$|[._])|ema_|_ema")
_DEEPEST = 4
"""Containers within containers, such as {"checkpoint": {"model": {"state_dict": …}}}."""
_COUNTER = "num_batches_tracked"
_STATISTICS = ("running_mean", "running_var")
_SHOWN = 4
_PICKLED_OBJECT = re.compile(r"Unsupported global: GLOBAL (\S+)")
_HASH_IN_NAME = re.compile(r"-([a-f0-9]{8,64})\.")


@dataclass(frozen=True, slots=True)
class _Fit:
    """A part of a weights file as a network's own tensors, and what speaks against it."""

    entry: str
    """The containers and the prefix around the tensors, joined by dots; "" for the file as it is."""
    tensors: Tensors
    """Under their names without that."""
    trunk: dict[str, Tensor]
    head: dict[str, Tensor]
    faults: tuple[str, ...]
    missing: tuple[str, ...]
    has_own_layout: bool
    """Whether petbench wrote it: `trunk.` and `head.`, without a published head."""

    @property
    def is_average(self) -> bool:
        """Whether it is an average of the weights beside it, by its name."""
        return _AVERAGE.search(self.entry) is not None


def read_tensors(path: Path) -> Tensors:
    """The tensors of a file that holds one set of them, as `read_entries`; of several the largest.

    Raises:
        UserError: as `read_entries`.
    """
    tensors = max(read_entries(path).values(), key=len)
    _refuse_not_finite(tensors, clean(path))
    return tensors


def read_entries(path: Path) -> dict[str, Tensors]:
    """The tensors of a .safetensors, .pth or .pt file, on the CPU, by the dictionary that holds them.

    Keys are the names of the dictionaries around them, joined by dots; "" for the outermost. No code in the
    file is ever run.

    A zip archive, which is what torch writes, has its checksums verified: torch itself would load flipped
        bits.

    Raises:
        UserError: if there is no such file, or it is damaged, or holds no named tensors.
    """
    where = clean(path)
    if not path.is_file():
        what = "is a directory, not a file" if path.is_dir() else "no such weights file"
        raise UserError(what, where=where, allowed="a .safetensors, .pth or .pt file")
    try:
        content = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_torch(path)
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", where=where) from error
    entries = dict(_entries_in(content))
    if not entries:
        raise UserError(_no_tensors(content), where=where, allowed="a state dict of named tensors")
    return entries


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
    classifier: ImageClassifier,
    architecture: Architecture,
    entries: Mapping[str, Tensors],
    *,
    source: str,
    entry: str | None = None,
) -> None:
    """Fill the classifier from a published file of its backbone, or from a petbench classifier's state dict.

    Whatever the tensors are wrapped in is taken off: dictionaries, and one prefix that all names share. Of
    several that fit, an average (EMA) gives way to the weights that it is of. What was done is told in the
    classifier's `weights_notes`. A published file's own head becomes `published_head`. A petbench file's
    head is kept where it has as many classes, else the fresh one stays.

    Args:
        entries: names -> values of any float dtype, as `read_entries` gives them.
        source: the file or the weights' name, for messages.
        entry: which of several to take, by `_Fit.entry`.

    Raises:
        UserError: naming the missing, unexpected and misshaped tensors, or the entries to choose from.
    """
    fits = _fits(classifier, architecture, entries)
    fit = _chosen(classifier, fits, source, entry)
    _refuse_not_finite(fit.tensors, clean(source))
    classifier.weights_notes = tuple(_notes(fit, fits, entries, source))
    if not fit.has_own_layout:
        classifier.published_head = _published_head(architecture, fit.tensors)
    # Files without batch counters (converted, or old) keep the fresh network's zeros.
    state = classifier.trunk.state_dict()
    state.update(fit.trunk)
    # MNASNet decides by the version in these metadata whether a file has its old, unscaled stem.
    state._metadata = getattr(fit.tensors, "_metadata", None) or state._metadata  # type: ignore[attr-defined]
    classifier.trunk.load_state_dict(state)
    if {name: value.shape for name, value in fit.head.items()} == {
        name: value.shape for name, value in classifier.head.state_dict().items()
    }:
        classifier.head.load_state_dict(fit.head)


def _fits(
    classifier: ImageClassifier, architecture: Architecture, entries: Mapping[str, Tensors]
) -> list[_Fit]:
    """Every part of a file that might be the network's weights, the shortest names first."""
    wanted = [name for name in classifier.trunk.state_dict() if _last(name) != _COUNTER]
    found: list[_Fit] = []
    for place, as_written in entries.items():
        tensors = _without_prefix(as_written, "")
        tried = [
            _fit(classifier, architecture, place, prefix, tensors)
            for prefix in _prefixes(tensors, least=len(wanted) // 2)
        ]
        within = [fit.entry for fit in tried if not fit.faults and fit.entry != place]
        if within and tried[0].faults:
            # Without what fits by itself, the rest may be the weights that an average stands beside.
            starts = tuple(f"{entry[len(place) + 1 if place else 0 :]}." for entry in within)
            rest = {name: value for name, value in tensors.items() if not name.startswith(starts)}
            tried[0] = _fit(classifier, architecture, place, "", rest)
        elif not tried[0].faults:
            tried = tried[:1]  # a trunk within it would fit by itself too
        found += tried
    return found


def _fit(
    classifier: ImageClassifier, architecture: Architecture, place: str, prefix: str, tensors: Tensors
) -> _Fit:
    """The tensors under a prefix, held against what the network wants."""
    plain = _without_prefix(tensors, prefix)
    own = any(name.startswith("trunk.") for name in plain)
    head: dict[str, Tensor] = {}
    strangers: list[str] = []
    if own:
        trunk, head = _below("trunk", plain), _below("head", plain)
        strangers = [name for name in plain if not name.startswith(("trunk.", "head."))]
    else:
        kept = {name: value for name, value in plain.items() if not _is_in(name, architecture.discards)}
        try:
            trunk = dict(architecture.translate(kept))
        except (RuntimeError, KeyError, ValueError, IndexError, TypeError, AttributeError):
            trunk = kept  # another network's names or shapes, at which a library's translation stumbled
    wanted = classifier.trunk.state_dict()
    missing = [name for name in wanted if name not in trunk and _last(name) != _COUNTER]
    unexpected = [name for name in trunk if name not in wanted] + strangers
    misshaped = [
        f"{name} {tuple(trunk[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if name in trunk and trunk[name].shape != wanted[name].shape
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("of another shape", misshaped))
    faults = tuple(f"{len(names)} {kind}: {_some(names)}" for kind, names in kinds if names)
    entry = ".".join(part for part in (place, prefix.rstrip("._-/")) if part)
    return _Fit(entry, plain, trunk, head, faults, tuple(missing), own)


def _prefixes(tensors: Tensors, *, least: int) -> list[str]:
    """What the names might begin with besides the network's own: nothing, or what at least so many share."""
    counts: Counter[str] = Counter()
    for name in tensors:
        parts = name.split(".")
        counts.update(".".join(parts[:length]) + "." for length in range(1, len(parts)))
    first, last = min(tensors), max(tensors)
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    shared = "".join(letter for letter, _ in same)
    found = {prefix for prefix, count in counts.items() if count >= least} | {shared}
    return ["", *sorted(found - {""}, key=lambda prefix: (len(prefix), prefix))]


def _without_prefix(tensors: Tensors, prefix: str) -> Tensors:
    """The tensors whose names begin so, under the rest of their names; as it was where nothing changes."""
    if not prefix and not any(_BETWEEN.search(name) for name in tensors):
        return tensors
    plain: OrderedDict[str, Tensor] = OrderedDict(
        (_BETWEEN.sub("", name[len(prefix) :]), value)
        for name, value in tensors.items()
        if name.startswith(prefix) and name != prefix
    )
    versions = getattr(tensors, "_metadata", None)
    if isinstance(versions, dict):  # whose keys name modules: no dot at their end
        stem = prefix.rstrip(".")
        told = {name[len(prefix) :]: version for name, version in versions.items() if name.startswith(stem)}
        plain._metadata = told  # type: ignore[attr-defined]
    return plain


def _chosen(classifier: ImageClassifier, fits: Sequence[_Fit], source: str, entry: str | None) -> _Fit:
    """The part to load: the one that is asked for, else the only one that fits, averages aside."""
    whole = [fit for fit in fits if not fit.faults]
    if entry is not None:
        asked = [fit for fit in fits if fit.entry == entry or fit.entry.startswith(f"{entry}.")]
        if not asked:
            raise UserError(
                f"{clean(source)} has no entry {clean(entry, 80)!r} that could be {classifier.backbone}",
                where="model.weights_entry",
                allowed=[clean(fit.entry, 80) for fit in whole if fit.entry],
            )
        whole = [fit for fit in asked if not fit.faults]
        fits = asked
    plain = [fit for fit in whole if not fit.is_average] or whole
    if not plain:
        raise _misfit(classifier, min(fits, key=lambda fit: len(fit.missing)), source)
    if len(plain) > 1:
        raise UserError(
            f"{len(plain)} entries of the file fit {classifier.backbone}, and nothing says which is meant",
            where=clean(source),
            hint=f"set model.weights_entry to one of {', '.join(clean(fit.entry, 80) for fit in plain)}",
        )
    return plain[0]


def _notes(fit: _Fit, fits: Sequence[_Fit], entries: Mapping[str, Tensors], source: str) -> Iterator[str]:
    """What a user should know of how a file was read; nothing of one that is plain."""
    file = clean(Path(source).name)
    if fit.entry:
        average = ", which by its name is an average over training" if fit.is_average else ""
        yield f"weights of {file}: what stands under {clean(fit.entry, 80)}{average}"
    others = [clean(other.entry, 80) for other in fits if other is not fit and not other.faults]
    if others:
        yield (
            f"{file} also holds {', '.join(others)}: "
            f"model.weights_entry = {toml_literal(others[0])} takes that instead"
        )


def _misfit(classifier: ImageClassifier, fit: _Fit, source: str) -> UserError:
    """What is wrong with the part of a file that comes nearest."""
    under = f", read under {clean(fit.entry, 80)}" if fit.entry else ""
    told = _told_backbone(Path(source))
    hint = (
        f"the file says that it was made from {clean(told, 80)}"
        if told
        else "model.backbone must be the network that the file was made from"
    )
    if fit.missing and all(_last(name) in _STATISTICS for name in fit.missing):
        hint = (
            "the running statistics of batch norms are not in the file: save model.state_dict(), which has "
            "them, not model.parameters()"
        )
    return UserError(
        f"the weights do not fit {classifier.backbone}{under}; tensors {'; '.join(fit.faults)}",
        where=clean(source),
        hint=hint,
    )


def _told_backbone(path: Path) -> str:
    """What a file of petbench's says of itself; "" for any other."""
    try:
        with safetensors.safe_open(path, framework="pt") as stream:
            told = json.loads((stream.metadata() or {})["petbench"])
            return str(told["backbone"])
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError):
        return ""


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
    """The `part_id` of a classifier's trunk; of several, SHA-256 in hex over those of all."""
    ids = [part_id(classifier, part) for part in classifier.parts]
    return ids[0] if len(ids) == 1 else hashlib.sha256(" ".join(ids).encode()).hexdigest()


def part_id(classifier: ImageClassifier, part: TrunkPart) -> str:
    """SHA-256 in hex over the backbone's name and the trunk's tensors: equal ids compute equal features.

    Batch counters are left out, since no feature depends on them.
    """
    tensors = classifier.trunk.get_submodule(part.path).state_dict()
    return tensors_id(
        part.backbone, {name: value for name, value in tensors.items() if _last(name) != _COUNTER}
    )


def tensors_id(name: str, tensors: Tensors) -> str:
    """SHA-256 in hex over a name, and the names, kinds, shapes and values of tensors."""
    digest = hashlib.sha256(name.encode())
    for key, value in sorted(tensors.items()):
        whole = value.detach().cpu().contiguous()
        digest.update(f"\n{key} {whole.dtype} {tuple(whole.shape)}\n".encode())
        digest.update(whole.reshape(-1).view(torch.uint8).numpy().data)
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


def _entries_in(content: object, place: str = "", depth: int = 0) -> Iterator[tuple[str, Tensors]]:
    """(names of the dictionaries around, the tensors) of every dictionary that holds named tensors."""
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return
    named = {name: value for name, value in content.items() if isinstance(name, str)}
    tensors: Tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
    if tensors:
        # Itself where it may be: an OrderedDict of torch's carries the versions of its modules.
        yield place, content if len(tensors) == len(content) else tensors
    for name, value in named.items():
        yield from _entries_in(value, f"{place}.{name}" if place else name, depth + 1)


def _no_tensors(content: object) -> str:
    if content == {}:
        return "holds nothing, not named tensors"
    if isinstance(content, Mapping):
        return f"{_some(content)}: not tensors"
    return f"holds a {type(content).__name__}, not named tensors"


def _refuse_not_finite(tensors: Tensors, where: str) -> None:
    for name, value in tensors.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise UserError(f"the tensor {clean(name, 80)} holds NaN or infinity", where=where)


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


def put_back(module: nn.Module, tensors: Mapping[str, Tensor], *, strict: bool = True) -> None:
    """`load_state_dict` of tensors that were kept by name alone.

    torch keeps each layer's version beside its tensors, and some networks (MNASNet) refuse tensors of none.

    Raises:
        RuntimeError: they are not the module's; without `strict` a part of them is enough.
    """
    whole = OrderedDict(tensors)
    whole._metadata = module.state_dict()._metadata  # type: ignore[attr-defined]
    module.load_state_dict(whole, strict=strict)
