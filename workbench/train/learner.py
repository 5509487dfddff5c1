"""What a stage trains: a part of the network, with its optimiser, objective and average."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from workbench.loader import Samples
from workbench.model import parameter_groups, put_back, set_noise, tune, unlocked_groups
from workbench.recipe.plan import Stage
from workbench.support.spans import Part, span
from workbench.train.loss_scale import LossScale
from workbench.train.network import Network, changing_weights, clone_weights
from workbench.train.objectives import Beginning, Objective, SaliencyGuided, Supervised, make_objective
from workbench.train.optim import make_optimizer, optimizer_tensors, restore_optimizer, set_rates
from workbench.train.state import Weights, weights_under


class MovingAverage(AveragedModel):
    """torch's `AveragedModel` that looks through the network once, not at every step.

    Buffers are averaged too: averaged weights with the last step's batch-norm statistics do not belong
    together.

    Args:
        module: what is averaged; the same one must be given to every update.
        decay: the average's share in an update; the first takes the weights as they are.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        super().__init__(module, multi_avg_fn=average, use_buffers=True)
        self._decay = decay
        self._pairs: list[tuple[list[Tensor], list[Tensor]]] = []
        """Averages and what they follow, of one kind of number each."""

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take the weights of `model` into the average."""
        if not self._pairs:
            super().update_parameters(model)
            self._pairs = _pairs(self.module, model)
            return
        for averages, news in self._pairs:
            if averages[0].is_floating_point():
                torch._foreach_lerp_(averages, news, 1 - self._decay)
            else:
                for average, new in zip(averages, news, strict=True):
                    average.copy_(average * self._decay + new * (1 - self._decay))
        self.n_averaged += 1


def _pairs(averaged: nn.Module, followed: nn.Module) -> list[tuple[list[Tensor], list[Tensor]]]:
    """The tensors of two like modules, by their dtype."""
    pairs: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for average, new in zip(_tensors(averaged), _tensors(followed), strict=True):
        averages, news = pairs.setdefault(average.dtype, ([], []))
        averages.append(average.detach())
        news.append(new.detach())
    return list(pairs.values())


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


class Learner:
    """The classifier, or its head alone on cached features where nothing below it changes.

    Args:
        samples: what the stage trains on.
        offsets: (C,) float32, what the loss adds to the logits.
    """

    def __init__(
        self, stage: Stage, network: Network, samples: Samples, offsets: NDArray[np.float32] | None = None
    ) -> None:
        self._stage, self._network = stage, network
        classifier = network.classifier
        set_noise(classifier, dropout=stage.dropout, stochastic_depth=stage.stochastic_depth)
        tuning = tune(classifier, stage.finetune)
        self.trunk_fixed = tuning.trunk_fixed
        self.on_features = stage.is_on_features(trunk_fixed=tuning.trunk_fixed)
        self.module: nn.Module = classifier.head if self.on_features else classifier
        self.optimizer = make_optimizer(stage.optimizer, parameter_groups(classifier, stage.optimizer))
        assert stage.ema is not None  # the pace is known once a stage begins
        self.average = MovingAverage(self.module, stage.ema) if stage.ema else None
        self.mixes_batch = any(group.statistics_update for group in tuning.groups)
        scaled = network.precision.training == "fp16" and not self.on_features
        self.scale = LossScale(network.setup.device) if scaled else None
        self.objective = self._objective(samples, offsets)
        self._changing = frozenset(changing_weights(classifier, tuning))
        self._unlocked: int | None = None

    @property
    def rate(self) -> float:
        """The highest learning rate of any group now."""
        return float(max(group["lr"] for group in self.optimizer.param_groups))

    def begin_epoch(self, epoch: int) -> None:
        """Into training mode, with the groups open that learn in this epoch, where unfreezing is gradual."""
        unlocked = unlocked_groups(self._stage.finetune, epoch - 1)
        if unlocked != self._unlocked:
            tune(self._network.classifier, self._stage.finetune, unlocked=unlocked)
            self._unlocked = unlocked
        self.module.train()

    def set_rates(self, multiplier: float) -> None:
        """Every group's learning rate for the next step, as a share of its peak."""
        set_rates(self.optimizer, multiplier)

    def follow(self) -> None:
        """Take a step's weights into the average, if there is one."""
        if self.average is not None:
            with span(Part.OPTIMISER, "average"):
                self.average.update_parameters(self.module)

    def evaluated(self, epoch: int) -> nn.Module:
        """What is worth evaluating: an objective's teacher, an average of the weights, or the weights."""
        if epoch == 0:
            return self.module
        if self.objective.evaluated is not None:
            return self.objective.evaluated
        return self.module if self.average is None else self.average.module

    def weights_of(self, module: nn.Module) -> Weights:
        """A copy on the CPU of what training changes in `module`, or a twin of it, by the network's names."""
        prefix = "head." if self.on_features else ""
        entries = {prefix + name: tensor for name, tensor in module.state_dict().items()}
        return clone_weights({name: entries[name] for name in self._changing})

    def tensors(self) -> Weights:
        """Weights, average, and the objective's and optimiser's state, by name, for a checkpoint."""
        tensors = {f"model/{name}": t for name, t in self.weights_of(self.module).items()}
        if self.average is not None:
            tensors |= {f"average/{name}": t for name, t in self.average.state_dict().items()}
        tensors |= {f"objective/{name}": t for name, t in self.objective.state().items()}
        tensors |= {f"optimizer/{name}": t for name, t in optimizer_tensors(self.optimizer).items()}
        if self.scale is not None:
            tensors |= {f"scale/{name}": t for name, t in self.scale.state().items()}
        return tensors

    def restore(self, tensors: Weights) -> None:
        """Put back what `tensors` gave."""
        self._network.load(weights_under("model/", tensors))
        restore_optimizer(self.optimizer, weights_under("optimizer/", tensors))
        self.objective.restore(weights_under("objective/", tensors))
        if self.scale is not None:
            self.scale.restore(weights_under("scale/", tensors))
        if self.average is not None:
            put_back(self.average, weights_under("average/", tensors))

    def _objective(self, samples: Samples, offsets: NDArray[np.float32] | None) -> Objective:
        setup = self._network.setup
        smoothing = setup.recipe.training.label_smoothing
        if self._stage.online is None:
            supervised = Supervised(
                smoothing,
                negative_labels=bool(samples.rules_out.any()),
                logit_offsets=None if offsets is None else torch.from_numpy(offsets).to(setup.device),
            )
            weight = self._stage.saliency_weight
            return SaliencyGuided(supervised, weight) if weight else supervised
        beginning = Beginning(
            module=self.module,
            classes=len(setup.classes),
            pool=len(setup.split.unlabelled),
            device=setup.device,
            label_smoothing=smoothing,
            optimizer=self._stage.optimizer,
            mixes_batch=self.mixes_batch,
            scales_loss=self.scale is not None,
            world=setup.world,
        )
        return make_objective(self._stage.online, beginning)
