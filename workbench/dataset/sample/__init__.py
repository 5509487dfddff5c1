"""The sample set: drawn cats and dogs in the Oxford layout, made in seconds, the same for the same seed."""

from workbench.dataset.sample.generate import (
    SampleOptions,
    ensure_sample,
    generate_sample,
    holds_sample,
    is_current_sample,
)

__all__ = ["SampleOptions", "ensure_sample", "generate_sample", "holds_sample", "is_current_sample"]
