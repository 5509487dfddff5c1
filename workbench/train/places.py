"""Where a run finds its data, keeps what can be computed again, and computes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True, slots=True)
class Places:
    """Where a run finds its data, keeps what can be computed again, and computes."""

    data_home: Path
    cache: Path
    device: torch.device
