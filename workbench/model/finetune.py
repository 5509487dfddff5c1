"""Which layer groups learn, the two separate facts about their batch norms, and the one of layer norms."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from workbench.model.classifier import ImageClassifier
from workbench.model.noise import noisy_modules
from workbench.recipe import Finetune
from workbench.recipe.layer_groups import GroupChoice, LayerGroups, choose_groups
from workbench.support.errors import UserError


@dataclass(frozen=True, slots=True)
class GroupTuning:
    """What happens to one layer group while training.

    Args:
        learns: its weights other than norms' scale and shift change.
        batch_norm_learns: its batch norms' scale and shift change.
        statistics_update: its batch norms use the batch's statistics and update the running ones; else they
            use the running ones and leave them.
        layer_norm_learns: its layer, group and RMS norms' scale and shift change; they keep no statistics.
        batch_norms: how many batch norms it has; without any, both batch-norm facts are False.
        layer_norms: how many of the others; without any, their fact is False.
        parameters, trainable: scalars in all its parameters, and in those that change.
    """

    name: str
    learns: bool
    batch_norm_learns: bool
    statistics_update: bool
    layer_norm_learns: bool
    batch_norms: int
    layer_norms: int
    parameters: int
    trainable: int

    @property
    def is_frozen(self) -> bool:
        """Nothing in the group changes."""
        return not (self.trainable or self.statistics_update)


@dataclass(frozen=True, slots=True)
class Tuning:
    """What `tune` did, group by group, input to output.

    Args:
        trunk_fixed: a given image has the same features all through training, so they may be computed once:
            no tensor of the trunk changes and nothing in it adds noise. `set_noise` may change that
            afterwards: `is_trunk_fixed` tells what holds now.
    """

    groups: tuple[GroupTuning, ...]
    trunk_fixed: bool

    @property
    def parameters(self) -> int:
        """Scalars in all parameters."""
        return sum(group.parameters for group in self.groups)

    @property
    def trainable(self) -> int:
        """Scalars in the parameters that change."""
        return sum(group.trainable for group in self.groups)


def tune(classifier: ImageClassifier, finetune: Finetune, *, unlocked: int | None = None) -> Tuning:
    """Set `requires_grad` of every parameter and the lasting mode of every batch norm.

    A group in `layers` whose batch norm is not in `batch_norm` learns its weights but no scale and shift; a
    group only in `batch_norm` learns those alone; likewise `layer_norm`. A wholly frozen group also keeps its
    own dropouts (VGG's) quiet, as they only disturb fixed features; stochastic depth, which the recipe asks
    for, stays on.

    Args:
        unlocked: while unfreezing gradually, how many of the groups in `layers`, from the head downwards, are
            open by now; all below the lowest open one is wholly frozen. None: no such boundary.

    Raises:
        UserError: if a name is not a group's, a group named in a list of norms has none, `layer_norm` is set
            for a network without any, or nothing would learn.
    """
    groups = layer_groups(classifier)
    choice, order = choose_groups(groups, finetune), groups.names
    tuned = [name for name in order if name in choice.layers]
    if unlocked is not None and 0 < unlocked < len(tuned):
        choice = choice.above(order[order.index(tuned[-unlocked]) :])
    _apply(classifier, choice)
    if not any(parameter.requires_grad for parameter in classifier.parameters()):
        raise UserError("nothing would learn", where="finetune.layers", allowed=order)
    return Tuning(_facts(classifier, choice), is_trunk_fixed(classifier))


def unlocked_groups(finetune: Finetune, epoch: int) -> int | None:
    """How many groups are open in `epoch` (from 0): the highest first, then one more at a time.

    None when unfreezing is off. The number may exceed the groups there are; `tune` takes that as all.
    """
    if not finetune.gradual_unfreeze:
        return None
    return 1 + epoch // finetune.gradual_unfreeze


def is_trunk_fixed(classifier: ImageClassifier) -> bool:
    """Whether the trunk's features of an image stay the same while training, as things are set now."""
    trunk = classifier.trunk
    if any(parameter.requires_grad for parameter in trunk.parameters()):
        return False
    updating = (
        module
        for module in trunk.modules()
        if isinstance(module, _BatchNorm) and not classifier.is_held(module)
    )
    noisy = (module for module in noisy_modules(trunk) if not classifier.is_held(module))
    return next(updating, None) is None and next(noisy, None) is None


def layer_groups(classifier: ImageClassifier) -> LayerGroups:
    """What a recipe may name of the network."""
    return LayerGroups(
        classifier.backbone,
        tuple(group.name for group in classifier.groups),
        tuple(group.name for group in classifier.groups if group.batch_norms(classifier)),
        tuple(group.name for group in classifier.groups if group.layer_norms(classifier)),
    )


def _apply(classifier: ImageClassifier, choice: GroupChoice) -> None:
    held: list[nn.Module] = []
    for group in classifier.groups:
        for _, parameter in group.named_parameters(classifier):
            parameter.requires_grad_(group.name in choice.layers)
        norms = [norm for _, norm in group.batch_norms(classifier)]
        for norm in norms:
            for parameter in norm.parameters(recurse=False):
                parameter.requires_grad_(group.name in choice.batch_norm)
        for _, layer_norm in group.layer_norms(classifier):
            for parameter in layer_norm.parameters(recurse=False):
                parameter.requires_grad_(group.name in choice.layer_norm)
        if group.name not in choice.statistics:
            held += norms
        if group.name not in choice.learning | choice.statistics:
            held += [
                module for _, module in group.named_modules(classifier) if isinstance(module, _DropoutNd)
            ]
    classifier.hold_in_eval(held)


def _facts(classifier: ImageClassifier, choice: GroupChoice) -> tuple[GroupTuning, ...]:
    facts = []
    for group in classifier.groups:
        parameters = [parameter for _, parameter in group.named_parameters(classifier)]
        facts.append(
            GroupTuning(
                name=group.name,
                learns=group.name in choice.layers,
                batch_norm_learns=group.name in choice.batch_norm,
                statistics_update=group.name in choice.statistics,
                layer_norm_learns=group.name in choice.layer_norm,
                batch_norms=len(group.batch_norms(classifier)),
                layer_norms=len(group.layer_norms(classifier)),
                parameters=sum(parameter.numel() for parameter in parameters),
                trainable=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
            )
        )
    return tuple(facts)
