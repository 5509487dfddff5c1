"""The penalty on gradients beside the head: against a model worked by hand, and finite differences."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.loader.conftest import Recorder
from workbench.loader import Batch, HeadMasks
from workbench.model import build, tune
from workbench.recipe import Finetune, Model, parse_recipe
from workbench.support.errors import UserError
from workbench.train.objectives import Labelled, SaliencyGuided, Supervised
from workbench.train.objectives.supervised import gradient_outside
from workbench.train.precision import Precision
from workbench.train.setup import check_twice_differentiable
from workbench.train.step import Stepper

CPU = torch.device("cpu")
CLASSES, SIDE = 3, 5


def _random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _batch(images: int = 4, *, boxed: int | None = None) -> Labelled:
    """Random images, labels, weights and masks; the first `boxed` have a head box (None: all)."""
    targets = torch.eye(CLASSES)[torch.randint(CLASSES, (images,), generator=_random(1))]
    weights = torch.rand(images, generator=_random(2)) + 0.5
    known = torch.arange(images) < (images if boxed is None else boxed)
    outside = torch.rand(images, 1, SIDE, SIDE, generator=_random(3)) < 0.6
    shares = weights * known / (weights * known).sum().clamp(min=1e-9)
    return Labelled(
        torch.randn(images, 3, SIDE, SIDE, generator=_random(4)),
        targets,
        weights,
        float(weights.sum()),
        HeadMasks(outside & known[:, None, None, None], shares),
    )


def _linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, CLASSES))


def _curved() -> nn.Module:
    """Smooth, so that finite differences tell the truth; no batch norm, so that images do not mix."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 4, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(4, CLASSES)
    )


def test_the_penalty_of_a_linear_model_is_the_one_worked_by_hand() -> None:
    """With logits Wx + b, ∂ log p_y/∂x = W_y − Σ_k p_k W_k."""
    batch, model = _batch(), _linear()
    layer = model[1]  # type: ignore[index]
    weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    assert batch.heads is not None
    expected = 0.0
    for image, target, outside, share in zip(
        batch.inputs.double().numpy(),
        batch.targets.numpy(),
        batch.heads.outside.numpy(),
        batch.heads.shares.double().numpy(),
        strict=True,
    ):
        logits = weight @ image.ravel() + bias
        shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        gradient = weight[target.argmax()] - shares @ weight
        expected += share * np.abs(gradient.reshape(3, SIDE, SIDE) * outside).sum()
    plain = Supervised(0.1).loss(model, batch, None)
    guided = SaliencyGuided(Supervised(0.1), 0.25).loss(model, batch, None)
    assert float(guided.value.detach()) == pytest.approx(
        float(plain.value.detach()) + 0.25 * expected, rel=1e-5
    )
    assert torch.equal(guided.logits, plain.logits)
    assert not batch.inputs.requires_grad, "the batch itself is left as it was"


def test_its_gradient_is_that_of_finite_differences() -> None:
    model, batch = _curved().double(), _batch(3)
    assert batch.heads is not None
    heads = HeadMasks(batch.heads.outside, batch.heads.shares.double())
    # log-softmax in the loss is float32 by design; here all is double, for differences that tell.
    inputs, targets = batch.inputs.double(), batch.targets.double()

    def penalty() -> Tensor:
        asked = inputs.clone().requires_grad_()
        said = (targets * torch.log_softmax(model(asked), dim=1)).sum()
        (gradient,) = torch.autograd.grad(said, asked, create_graph=True)
        return (heads.shares * (gradient.abs() * heads.outside).flatten(1).sum(1)).sum()

    asked = inputs.clone().requires_grad_()
    value = gradient_outside(model(asked), asked, targets, heads)
    assert value.item() == pytest.approx(penalty().item(), rel=1e-5)
    value.backward()  # type: ignore[no-untyped-call]
    draws = np.random.default_rng(0)
    for parameter in model.parameters():
        assert parameter.grad is not None
        flat = parameter.data.view(-1)
        for place in draws.choice(len(flat), min(6, len(flat)), replace=False):
            kept, step = float(flat[place]), 1e-6
            flat[place] = kept + step
            above = penalty().item()
            flat[place] = kept - step
            difference = (above - penalty().item()) / (2 * step)
            flat[place] = kept
            assert float(parameter.grad.view(-1)[place]) == pytest.approx(difference, rel=1e-3, abs=1e-6)


def test_images_without_a_box_add_nothing() -> None:
    model = _curved()
    some, none = _batch(4, boxed=2), _batch(4, boxed=0)
    plain = Supervised().loss(model, none, None).value
    assert float(SaliencyGuided(Supervised(), 3.0).loss(model, none, None).value.detach()) == float(
        plain.detach()
    )
    assert some.heads is not None
    asked = some.inputs[:2].clone().requires_grad_()
    alone = HeadMasks(some.heads.outside[:2], some.heads.shares[:2])
    expected = gradient_outside(model(asked), asked, some.targets[:2], alone)
    found = SaliencyGuided(Supervised(), 3.0).loss(model, some, None).value
    assert (found - Supervised().loss(model, some, None).value).item() == pytest.approx(
        3 * expected.item(), rel=1e-4
    )


def test_what_an_image_is_not_is_no_ground_for_a_penalty() -> None:
    model, batch = _curved(), _batch(2)
    assert batch.heads is not None
    ruled_out = batch.targets.clone()
    ruled_out[1] = torch.tensor([-0.5, -0.5, 0])
    asked = batch.inputs.clone().requires_grad_()
    both = gradient_outside(model(asked), asked, ruled_out, batch.heads)
    asked = batch.inputs.clone().requires_grad_()
    first = HeadMasks(batch.heads.outside, batch.heads.shares * torch.tensor([1.0, 0.0]))
    expected = gradient_outside(model(asked), asked, batch.targets, first)
    assert both.item() == pytest.approx(expected.item())


@pytest.mark.parametrize("micro_batch", [2, 3])
def test_a_batch_in_parts_has_the_whole_batchs_loss_and_gradient(micro_batch: int) -> None:
    model, labelled = _curved(), _batch(7, boxed=5)
    twin = copy.deepcopy(model)
    batch = Batch(labelled.inputs, labelled.targets, labelled.weights, 7.0, np.arange(7), labelled.heads)

    def stepped(module: nn.Module, size: int) -> Tensor:
        stepper = Stepper(
            module,
            torch.optim.SGD(module.parameters(), lr=0.1),
            Precision("fp32", "fp32", ""),
            CPU,
            Recorder(),
            SaliencyGuided(Supervised(), 2.0),
            on_features=False,
            micro_batch=size,
        )
        return stepper.step(batch).loss

    torch.testing.assert_close(stepped(model, micro_batch), stepped(twin, 0))
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("backbone", ["shufflenet_v2_x0_5", "timm:vit_tiny_patch16_224"])
@pytest.mark.parametrize("layers", ["all", "head"])
def test_bfloat16_and_fused_attention_give_nearly_the_same_penalty(backbone: str, layers: str) -> None:
    classifier = build(Model(backbone=backbone, weights="none"), CLASSES, seed=0, image_size=32)
    tune(classifier, Finetune.model_validate({"layers": layers}))
    classifier.eval()
    equal = torch.full((2,), 0.5)
    outside = torch.arange(32)[None, None, None].expand(2, 1, 32, 32) < 20
    images = torch.randn(2, 3, 32, 32, generator=_random(0))
    batch = Labelled(images, torch.eye(CLASSES)[:2], equal, float(equal.sum()), HeadMasks(outside, equal))
    found, norms = [], []
    for dtype in ("fp32", "bf16"):
        with Precision(dtype, "fp32", "").autocast(CPU, "training"):
            value = SaliencyGuided(Supervised(), 1.0).loss(classifier, batch, None).value
        classifier.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad.flatten() for p in classifier.parameters() if p.grad is not None]
        found.append(value.item())
        norms.append(float(torch.cat(gradients).norm()))
    assert found[1] == pytest.approx(found[0], rel=0.05)
    assert norms[1] == pytest.approx(norms[0], rel=0.1)
    assert norms[0] > 0


@pytest.mark.parametrize(
    ("backbone", "size", "why"),
    [
        ("mobilenet_v3_small", 32, "hardsigmoid_backward is not implemented"),
        ("swin_v2_t", 64, "its second derivative is not finite"),
    ],
)
def test_a_network_that_cannot_be_differentiated_twice_is_refused_before_it_trains(
    backbone: str, size: int, why: str
) -> None:
    text = f"""
    schema = 1
    name = "x"
    data = {{ dataset = "sample", image_size = {size} }}
    model = {{ backbone = "{backbone}", weights = "none" }}
    finetune = {{ layers = "all" }}
    """
    classifier = build(Model(backbone=backbone, weights="none"), 4, seed=0, image_size=size)
    check_twice_differentiable(classifier, parse_recipe(text))
    with pytest.raises(UserError, match=why) as error:
        check_twice_differentiable(classifier, parse_recipe(text, overrides=("training.saliency_weight=1",)))
    assert error.value.where == "training.saliency_weight"
    assert classifier.training
    assert all(parameter.grad is None for parameter in classifier.parameters())
