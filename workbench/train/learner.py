"""What a stage trains: a part of the network, with its optimiser, objective and average."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from workbench.loader import Samples
from workbench.model import parameter_groups, put_back, set_noise, tune, unlocked_groups
from workbench.support.spans import Part, span
from workbench.train.average import MovingAverage
from workbench.train.network import Network, changing_weights, clone_weights
from workbench.train.objectives import Beginning, Objective, SaliencyGuided, Supervised, make_objective
from workbench.train.optim import make_optimizer, optimizer_tensors, restore_optimizer, set_rates
from workbench.train.stage import Stage
from workbench.train.state import Weights, weights_under


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
        self.on_features = tuning.trunk_fixed and stage.sees_plain_views
        self.module: nn.Module = classifier.head if self.on_features else classifier
        self.optimizer = make_optimizer(stage.optimizer, parameter_groups(classifier, stage.optimizer))
        self.average = MovingAverage(self.module, stage.ema) if stage.ema else None
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
        return tensors

    def restore(self, tensors: Weights) -> None:
        """Put back what `tensors` gave."""
        self._network.load(weights_under("model/", tensors))
        restore_optimizer(self.optimizer, weights_under("optimizer/", tensors))
        self.objective.restore(weights_under("objective/", tensors))
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
        )
        return make_objective(self._stage.online, beginning)
