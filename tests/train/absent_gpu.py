"""A whole run on a GPU that is not there, in a process of its own: `python -m` this CASE DIRECTORY [PLANT].

Tensors of the run's device are torch's "meta" tensors, with shapes and no numbers, and petbench takes that
device for a GPU (`PosingGpu`): it goes through every branch that a GPU takes. A dispatch mode sees each
operation of torch, forwards and backwards, and

- ends the run where one operation has tensors of the host and of the device, as CUDA would;
- ends it where the host asks the device for a number while a step is taken, a batch is drawn, or batches are
  evaluated one after the other, or for a size that depends on numbers: a GPU would stand still meanwhile;
- ends it where the host waits for a batch's results before it has queued the next;
- ends it where two queues use the same memory and neither waits for the other, or memory goes back to its
  queue before the other has done with it (`tests.compute.queues`);
- elsewhere answers such questions with made-up numbers, so that the run goes on: a run looks at its losses,
  which torch's own FakeTensorMode on that device would refuse.

What it cannot see: numbers, the dtypes of autocast, memory, speed, algorithms that cuDNN refuses.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.compute.posing import POSER, PosingGpu
from tests.compute.queues import LANE, PosingLane
from tests.loader.conftest import Recorder
from tests.train.making import HEAD, PSEUDO, TRUNK, make_sample, tiny
from tests.train.test_online_runs import LENIENT
from workbench.compute import ACCELERATORS
from workbench.compute.lanes import in_turn
from workbench.loader import Ahead
from workbench.recipe.dump import dump_recipe
from workbench.runs.layout import create_run
from workbench.train import Outcome, Places, attempt
from workbench.train.feature_bank import FeatureBank
from workbench.train.inference import TrunkFeatures
from workbench.train.learner import Learner
from workbench.train.network import Network
from workbench.train.objectives import Supervised
from workbench.train.step import HeadStep, Stepper

SHORT = ("training.epochs=1", "training.batch_size=20")
SOME = 8
_FUSED = ("_fused_adam_", "_fused_adamw_", "_fused_sgd_")
# One operation of these takes tensors of both: that is what they are for.
_COPIES = ("_to_copy", "copy_", "_copy_from", "to", "_pin_memory")
# The size of what they return depends on numbers, or they look at numbers before they begin.
_WAITING = (
    "nonzero",
    "_unique2",
    "unique_dim",
    "masked_select",
    "_local_scalar_dense",
    "equal",
    "multinomial",
    "bincount",
)


class MixUp(Exception):
    """An operation has tensors of the host and of the device."""


class HostRead(Exception):
    """The host waits for the device where it should only queue."""


class AbsentGpu(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches every operation of the thread that it is entered in."""

    def __init__(self, gpu: PosingGpu) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.queues = gpu.queues
        gpu.fetches = self._fetch
        self.queueing = threading.local()
        self.operations = 0
        self.answered = 0

    @contextlib.contextmanager
    def only_queues(self, *, really: bool = True) -> Iterator[None]:
        """No look at the device within, but at what was fetched while there was more to do.

        Args:
            really: or looks are allowed again.
        """
        before = getattr(self.queueing, "loop", None)
        self.queueing.loop = _Loop() if really else None
        try:
            yield
        finally:
            self.queueing.loop = before

    def _fetch(self, tensor: Tensor) -> _OnItsWay:
        loop = getattr(self.queueing, "loop", None)
        if loop is not None and loop.stood_still:
            raise HostRead("the host waited for a batch's results before the next batch was queued")
        self.queues.run("fetch", [tensor], [])
        return _OnItsWay(self, _made_up(tensor.shape, tensor.dtype), self.operations)

    def waited(self, since: int) -> None:
        """The host waits for what was queued as the operation of that number: is there more to do?"""
        loop = getattr(self.queueing, "loop", None)
        if loop is not None and since == self.operations:
            loop.stood_still = True  # which the end of a loop may

    def __torch_dispatch__(
        self, function: Any, types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        """The operation, or what a GPU would say to it."""
        kwargs = kwargs or {}
        name = function._schema.name.removeprefix("aten::")
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        on_device = [tensor for tensor in tensors if tensor.device.type == POSER.type]
        if not on_device:
            found = function(*args, **kwargs)
            for leaf in tree_leaves(found):
                if isinstance(leaf, Tensor) and leaf.device.type == POSER.type:
                    self.queues.made(leaf)
            return found
        self.operations += 1
        written = _written(function, args, kwargs)
        self.queues.run(name, on_device, [one for one in written if one.device.type == POSER.type])
        found = self._done(function, name, args, kwargs, tensors, on_device)
        for leaf in tree_leaves(found):
            if isinstance(leaf, Tensor) and leaf.device.type == POSER.type:
                self.queues.made(leaf)
        return found

    def _done(
        self, function: Any, name: str, args: Any, kwargs: Any, tensors: list[Tensor], on_device: list[Tensor]
    ) -> Any:
        if name in _COPIES:
            return self._copied(function, name, args, kwargs)
        # A number of the host, of no dimension, may go with tensors of the device.
        if any(tensor.device.type == "cpu" and tensor.ndim for tensor in tensors):
            raise MixUp(f"{name} of tensors on {sorted({str(tensor.device) for tensor in tensors})}")
        if name in _WAITING:
            self._refuse_while_queueing(name)
            return self._answer(name, on_device[0])
        if name in _FUSED:  # no meta kernel in every torch: in place, as the real ones
            return None
        return function(*args, **kwargs)

    def _copied(self, function: Any, name: str, args: Any, kwargs: Any) -> Any:
        source = args[1] if name == "copy_" else args[0]
        if name == "copy_":
            target = args[0].device.type
        else:
            target = torch.device(kwargs.get("device") or source.device).type
        if source.device.type != POSER.type or target != "cpu":
            return function(*args, **kwargs)
        self._refuse_while_queueing(name)
        self.answered += 1
        found = _made_up(source.shape, kwargs.get("dtype") or source.dtype)
        return args[0].copy_(found) if name == "copy_" else found

    def _refuse_while_queueing(self, name: str) -> None:
        if getattr(self.queueing, "loop", None) is not None:
            raise HostRead(f"{name} asks the device while a step is taken or batches go through")

    def _answer(self, name: str, asked: Tensor) -> Any:
        self.answered += 1
        if name == "_local_scalar_dense":
            return _made_up(asked.shape, asked.dtype).item()
        if name == "equal":
            return True
        raise HostRead(f"{name} asks the device for a size, which it need not know anywhere")


@dataclass
class _Loop:
    """Batches one after the other."""

    stood_still: bool = False
    """The host has waited while the device had nothing to do."""


@dataclass(frozen=True)
class _OnItsWay:
    """What the host fetches."""

    mode: AbsentGpu
    found: Tensor
    since: int

    def wait(self) -> Tensor:
        """Noted."""
        self.mode.waited(self.since)
        return self.found


def _written(function: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The tensors that an operation changes, by its schema."""
    found = []
    for place, argument in enumerate(function._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[place] if place < len(args) else kwargs.get(argument.name)
            found += [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
    return found


def _made_up(shape: Iterable[int], dtype: torch.dtype) -> Tensor:
    """Numbers to go on with: rows are shares, scalars 2, flags set."""
    shape = tuple(shape)
    if dtype == torch.bool:
        return torch.ones(shape, dtype=dtype)
    if not dtype.is_floating_point:
        return torch.zeros(shape, dtype=dtype)
    if len(shape) != 2:
        return torch.full(shape, 2.0, dtype=dtype)
    drawn = torch.rand(shape, generator=torch.Generator().manual_seed(0)) + 0.1
    return (drawn / drawn.sum(dim=1, keepdim=True)).to(dtype)


def pose(mode: AbsentGpu, gpu: PosingGpu) -> None:
    """Let this process's torch take the device for a GPU; for the rest of its life."""
    ACCELERATORS[POSER.type] = gpu
    for name, module in list(sys.modules.items()):
        if name.startswith("torch.optim") and hasattr(module, "_get_fused_kernels_supported_devices"):
            vars(module)["_get_fused_kernels_supported_devices"] = lambda: ["cpu", POSER.type]
    autocast, is_enabled = torch.autocast, torch.is_autocast_enabled

    def posing_autocast(kind: str, *rest: Any, **more: Any) -> Any:
        return contextlib.nullcontext() if kind == POSER.type else autocast(kind, *rest, **more)

    torch.autocast = posing_autocast  # type: ignore[assignment, misc]
    torch.is_autocast_enabled = lambda *kind: kind != (POSER.type,) and is_enabled(*kind)
    steps = ((Stepper, "step"), (HeadStep, "step"), (Learner, "follow"))
    passes = ((Network, "_looked"), (Network, "_maps"), (TrunkFeatures, "_looked"), (FeatureBank, "_fill"))
    for owner, name in (*steps, *passes):
        setattr(owner, name, _queueing(mode, getattr(owner, name)))
    # Made within the first batch, once a run.
    setattr(Network, "_frozen_trunk", _queueing(mode, Network._frozen_trunk, really=False))  # noqa: B010
    for module in (sys.modules[owner.__module__] for owner in (Network, TrunkFeatures)):
        vars(module)["INFERENCE_BATCH"] = SOME  # several passes of these few images
    work = Ahead._work

    def posing_work(ahead: Any) -> None:
        with mode, mode.only_queues():
            work(ahead)

    setattr(Ahead, "_work", posing_work)  # noqa: B010


def _queueing(mode: AbsentGpu, function: Callable[..., Any], *, really: bool = True) -> Callable[..., Any]:
    def within(*arguments: Any, **more: Any) -> Any:
        with mode.only_queues(really=really):
            return function(*arguments, **more)

    return within


def _online(strategy: str, *lines: str) -> str:
    extra = "\n".join((LENIENT[strategy], *lines))
    return f"""
[pseudo_label]
strategy = "{strategy}"
labelled_fraction = 0.5
epochs_per_round = 1
unlabelled_ratio = 1
{extra}
"""


_FIXED = (
    "augmentation.random_crop=false",
    "augmentation.flip=false",
    "finetune.layers=['conv_head', 'head']",
)
_ONE_ROUND = ("pseudo_label.rounds=1", "pseudo_label.epochs_per_round=1")

CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "supervised": (TRUNK, ()),
    "sgd": (TRUNK, ("optimizer.name='sgd'",)),
    "fp16": (TRUNK, ("training.precision='fp16'",)),
    "mixup": (
        TRUNK,
        ("augmentation.mixing='mixup'", "augmentation.policy='rand'"),
    ),
    "kept_maps": (TRUNK, (*_FIXED, "finetune.layers=['conv_head', 'head']")),
    "cached_features": (HEAD, ()),
    "probe_first": (TRUNK, ("finetune.probe_epochs=1",)),
    "views": (TRUNK, ("data.evaluation_views=['centre', 'full']",)),
    "progressive": (TRUNK, ("training.progressive=0.5", "data.image_size=64", "training.epochs=2")),
    "saliency": (TRUNK, ("training.saliency_weight=0.1",)),
    "vit": (TRUNK, ("model.backbone='vit_b_16'", "model.dropout=0")),
    "iterative": (TRUNK + PSEUDO, _ONE_ROUND),
    "iterative_features": (HEAD + PSEUDO, _ONE_ROUND),
    "mean_teacher": (TRUNK + _online("mean_teacher"), ()),
    "fixmatch": (TRUNK + _online("fixmatch"), ()),
    "fixmatch_apart": (TRUNK + _online("fixmatch"), ("finetune.batch_norm='frozen'",)),
    "flexmatch": (TRUNK + _online("flexmatch"), ()),
    "freematch": (TRUNK + _online("freematch"), ()),
    "softmatch": (TRUNK + _online("softmatch"), ()),
    "meta_pseudo_labels": (TRUNK + _online("meta_pseudo_labels"), ()),
    "meta_pseudo_labels_fp16": (TRUNK + _online("meta_pseudo_labels"), ("training.precision='fp16'",)),
    "pool_views": (HEAD + _online("fixmatch", "views = 2"), ("augmentation.random_crop=[0.5, 1.0]",)),
}
"""Name -> (recipe, changes): a step or two of each stage."""


def plant(what: str) -> None:
    """A fault, to see it found: in the supervised loss, evaluation, or what queues know of each other."""
    loss, look = Supervised.loss, Network._looked

    def mixed_up(objective: Supervised, model: nn.Module, labelled: Any, unlabelled: Any) -> Any:
        found = loss(objective, model, labelled, unlabelled)
        found.logits + torch.zeros(found.logits.shape[1])
        return found

    def read(objective: Supervised, model: nn.Module, labelled: Any, unlabelled: Any) -> Any:
        found = loss(objective, model, labelled, unlabelled)
        found.value.item()
        return found

    def read_each(network: Network, positions: Any, of: Any, *rest: Any) -> Any:
        def then_read(inputs: Tensor) -> Tensor:
            found: Tensor = of(inputs)
            found.argmax(dim=1).cpu()
            return found

        return look(network, positions, then_read, *rest)

    def at_once(results: Any, device: torch.device) -> Any:
        fetch = ACCELERATORS[device.type].fetch
        return in_turn(((fetch(tensor), beside) for tensor, beside in results), behind=0)

    def unjoined(lane: PosingLane, mark: Any) -> None:
        pass

    def let_go(ahead: Any) -> None:
        pass

    faults: dict[str, tuple[Any, str, Any]] = {
        "mixup": (Supervised, "loss", mixed_up),
        "read": (Supervised, "loss", read),
        "read each": (Network, "_looked", read_each),
        "wait for each": (sys.modules[Network.__module__], "fetched", at_once),
        "unjoined": (PosingLane, "join", unjoined),
        "let go": (Ahead, "_follow", let_go),
    }
    setattr(*faults[what])


def run(case: str, home: Path) -> tuple[Outcome, AbsentGpu]:
    """One case to its end."""
    base, changes = CASES[case]
    recipe = tiny(base, make_sample(home / "sample"), *SHORT, *changes)
    directory = create_run(home / "runs", recipe.name, dump_recipe(recipe), datetime.now())
    places = Places(home / "data", home / "cache", POSER)
    gpu = PosingGpu()
    mode = AbsentGpu(gpu)
    pose(mode, gpu)
    with mode:
        return attempt(directory, recipe, places, Recorder()), mode


def main(case: str, home: str, *planted: str) -> int:
    """Run it and say how it ended; returns the run's exit code."""
    for what in planted:
        plant(what)
    outcome, mode = run(case, Path(home))
    print(f"{mode.operations} operations, {mode.queues.given(LANE)} in the lane, {mode.answered} looks")
    if outcome.code:
        print(outcome.reason)
        log = next(Path(home).glob("runs/*/run.log"), None)
        print(log.read_text() if log else "")
    return outcome.code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
