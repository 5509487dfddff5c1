"""Sample sets, drawn in seconds, the same for a seed: pets in the Oxford layout, other things in folders."""

from workbench.dataset.sample.sample_set import (
    SampleKind,
    SampleOptions,
    ensure_sample,
    generate_sample,
    holds_sample,
    is_current_sample,
)

__all__ = [
    "SampleKind",
    "SampleOptions",
    "ensure_sample",
    "generate_sample",
    "holds_sample",
    "is_current_sample",
]
