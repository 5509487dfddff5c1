"""Every operation of RandAugment and TrivialAugment, against torchvision's own on the same picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torchvision import transforms
from torchvision.transforms.autoaugment import _apply_op
from torchvision.transforms.v2 import functional as V

from tests.loader.conftest import CPU, smooth_picture
from workbench.loader import colours
from workbench.loader.augmentation import (
    BINS,
    Operation,
    PolicyStep,
    ViewPlan,
    draw_step,
    rand_augment_table,
    trivial_augment_table,
)
from workbench.loader.geometry import identities
from workbench.loader.randomness import uniforms
from workbench.loader.views import ViewFormat, render
from workbench.recipe.training import Augmentation

SIDE = 96
FORM = ViewFormat(SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), CPU)
TORCHVISION_NAMES = {Operation.COLOUR: "Color", Operation.AUTOCONTRAST: "AutoContrast"}


def _name(operation: Operation) -> str:
    return TORCHVISION_NAMES.get(operation, operation.name.title().replace("_", ""))


def _pictures(count: int) -> Tensor:
    """(count, 3, SIDE, SIDE) uint8: waves with noise on top."""
    noise = np.random.default_rng(0).integers(-20, 20, (count, SIDE, SIDE, 3))
    smooth = np.stack([smooth_picture(SIDE, SIDE, phase=i) // 2 + 30 for i in range(count)])
    return torch.from_numpy(np.clip(smooth + noise, 0, 255).astype(np.uint8)).permute(0, 3, 1, 2).contiguous()


def _strengths(values: list[float]) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1)


@pytest.mark.parametrize(
    ("ours", "theirs", "values"),
    [
        (colours.adjust_brightness, V.adjust_brightness, [0.1, 0.7, 1.0, 1.9]),
        (colours.adjust_saturation, V.adjust_saturation, [0.0, 0.5, 1.0, 1.9]),
        (colours.adjust_contrast, V.adjust_contrast, [0.1, 0.5, 1.0, 1.9]),
        (colours.adjust_sharpness, V.adjust_sharpness, [0.1, 0.5, 1.0, 1.9]),
    ],
)
def test_blends_equal_torchvisions_on_float_pixels(
    ours: Callable[[Tensor, Tensor], Tensor], theirs: Callable[[Tensor, float], Tensor], values: list[float]
) -> None:
    pictures = _pictures(len(values)).float()
    expected = torch.stack([theirs(p / 255, v) * 255 for p, v in zip(pictures, values, strict=True)])
    torch.testing.assert_close(ours(pictures, _strengths(values)), expected, atol=2e-3, rtol=0)
    assert not torch.equal(expected[0], pictures[0])


def test_posterize_equals_torchvisions() -> None:
    pictures = _pictures(9)
    ours = colours.posterize(pictures.float(), _strengths([float(bits) for bits in range(9)]))
    theirs = torch.stack([V.posterize(p, bits) for bits, p in enumerate(pictures)])
    torch.testing.assert_close(ours, theirs.float(), atol=0, rtol=0)


def test_solarize_equals_torchvisions() -> None:
    pictures, thresholds = _pictures(4), [0.0, 100.0, 127.5, 255.0]
    ours = colours.solarize(pictures.float(), _strengths(thresholds))
    theirs = torch.stack([V.solarize(p, t) for p, t in zip(pictures, thresholds, strict=True)])
    torch.testing.assert_close(ours, theirs.float(), atol=0, rtol=0)


def _odd_pictures() -> Tensor:
    """Four pictures, three of them with channels of one value or nearly so."""
    pictures = _pictures(4)
    pictures[1, 0] = 77
    pictures[2] = 0
    pictures[3, :, : SIDE // 2] = 255
    return pictures


def test_equalize_equals_torchvisions() -> None:
    pictures = _odd_pictures()
    torch.testing.assert_close(
        colours.equalize(pictures.float()), V.equalize(pictures).float(), atol=0, rtol=0
    )


def test_autocontrast_equals_torchvisions() -> None:
    pictures = _odd_pictures().float()
    theirs = V.autocontrast(pictures / 255) * 255
    torch.testing.assert_close(colours.autocontrast(pictures), theirs, atol=1e-3, rtol=0)
    assert not torch.equal(theirs[0], pictures[0])


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(
    "operation",
    [Operation.SHEAR_X, Operation.SHEAR_Y, Operation.TRANSLATE_X, Operation.TRANSLATE_Y, Operation.ROTATE],
)
def test_moves_equal_torchvisions_inside_the_picture(operation: Operation, sign: int) -> None:
    magnitude = sign * rand_augment_table(SIDE)[operation, 9]
    picture = torch.from_numpy(smooth_picture(SIDE, SIDE)).permute(2, 0, 1)[None]
    step = PolicyStep(np.array([operation]), np.array([magnitude]))
    ours = render(picture, ViewPlan(identities(1) @ step.matrices(SIDE)), FORM)[0] * 255
    bilinear = transforms.InterpolationMode.BILINEAR
    name = _name(operation)
    theirs = _apply_op(picture[0].float(), name, magnitude, bilinear, [0.0])
    inside = _apply_op(torch.ones(1, SIDE, SIDE), name, magnitude, bilinear, [0.0])[0] > 0.999
    assert inside.float().mean() > 0.6
    assert (ours - theirs)[:, inside].abs().max() < 0.6
    assert (ours - picture[0])[:, inside].abs().max() > 10


@pytest.mark.parametrize("policy", ["rand", "trivial"])
def test_magnitudes_are_torchvisions(policy: str) -> None:
    if policy == "rand":
        theirs, ours = (
            transforms.RandAugment()._augmentation_space(BINS, (SIDE, SIDE)),
            rand_augment_table(SIDE),
        )
    else:
        theirs, ours = transforms.TrivialAugmentWide()._augmentation_space(BINS), trivial_augment_table()
    assert [_name(operation) for operation in Operation] == list(theirs)
    for operation, (magnitudes, _) in zip(Operation, theirs.values(), strict=True):
        expected = magnitudes.double().numpy()
        if operation in (Operation.TRANSLATE_X, Operation.TRANSLATE_Y):
            # torch's float32 ramp has 15.999999 for 16, which torchvision then truncates to 15.
            expected = np.trunc(expected + 1e-4)
        np.testing.assert_allclose(ours[operation], np.broadcast_to(expected, BINS), atol=1e-5)


def test_randaugment_draws_every_operation_at_its_magnitude_with_both_signs() -> None:
    augmentation = Augmentation(policy="rand", policy_magnitude=20)
    step = draw_step(augmentation, uniforms(0, "policy", ids=np.arange(7000), draws=3), SIDE)
    assert stats.chisquare(np.bincount(step.operations, minlength=14)).pvalue > 1e-3
    table, space = rand_augment_table(SIDE), transforms.RandAugment()._augmentation_space(BINS, (SIDE, SIDE))
    for operation, (_, signed) in zip(Operation, space.values(), strict=True):
        drawn = step.magnitudes[step.operations == operation]
        np.testing.assert_allclose(np.abs(drawn), table[operation, 20])
        negative = (drawn < 0).mean()
        assert 0.4 < negative < 0.6 if signed else negative == 0


def test_trivialaugment_draws_every_magnitude() -> None:
    step = draw_step(Augmentation(policy="trivial"), uniforms(0, "p", ids=np.arange(14000), draws=3), SIDE)
    degrees = np.abs(step.magnitudes[step.operations == Operation.ROTATE])
    np.testing.assert_allclose(np.unique(degrees), trivial_augment_table()[Operation.ROTATE])


def test_each_image_of_a_batch_gets_its_own_operation() -> None:
    pictures = _pictures(4).float()
    step = PolicyStep(
        np.array([Operation.EQUALIZE, Operation.ROTATE, Operation.BRIGHTNESS, Operation.POSTERIZE]),
        np.array([0.0, 30.0, -0.5, 3.0]),
    )
    changed = step.recolour(pictures.clone())
    torch.testing.assert_close(changed[0], colours.equalize(pictures[:1])[0])
    torch.testing.assert_close(changed[1], pictures[1])
    torch.testing.assert_close(changed[2], pictures[2] * 0.5)
    torch.testing.assert_close(changed[3], colours.posterize(pictures[3:], _strengths([3.0]))[0])
