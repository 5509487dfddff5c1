"""`python -m workbench.active FOLDER`: the engine, for the Label screen to start."""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path


def main() -> None:
    """Serve until stdin ends; exit code 0, or 2 where the folder cannot be labelled."""
    parser = argparse.ArgumentParser(prog="python -m workbench.active", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    given = parser.parse_args()
    with contextlib.suppress(OSError):
        os.nice(5)  # the screen comes first
    from workbench.active.engine import DEFAULT_BACKBONE, DEFAULT_SIZE, end_at_once, own_streams, serve

    end_at_once()
    import torch

    from workbench.support.paths import cache_home

    torch.set_num_threads(max(1, given.threads))
    requests, answers = own_streams()
    code = serve(
        given.folder.expanduser().absolute(),
        requests,
        answers,
        backbone=given.backbone or DEFAULT_BACKBONE,
        image_size=given.image_size or DEFAULT_SIZE,
        device=given.device,
        cache=cache_home(),
    )
    answers.flush()
    os._exit(code)  # threads that still compute have nothing to put away


if __name__ == "__main__":
    main()
