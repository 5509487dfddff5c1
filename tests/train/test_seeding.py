"""Seeds of torch's generators."""

from __future__ import annotations

import torch

from workbench.train.host import seed_device, seed_of

CPU = torch.device("cpu")


def test_what_is_drawn_after_it_is_what_torchs_own_seed_gives() -> None:
    for seed in (0, 1, 2**60 - 1):
        torch.manual_seed(seed)
        expected = torch.rand(3), torch.nn.functional.dropout(torch.ones(50))
        seed_device(seed, CPU)
        found = torch.rand(3), torch.nn.functional.dropout(torch.ones(50))
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


def test_a_seed_is_a_function_of_its_parts() -> None:
    seeds = {seed_of(*parts) for parts in [(0, 1, 2), (0, 12), (0, 1, 3), (1, 1, 2), ("0", 1, 2)]}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**60 for seed in seeds)
    assert seed_of(0, 1, 2) == 0x434026BD98FF2D8  # a run made today must be resumed alike tomorrow
