"""Class shares as a recipe names them."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.dataset.run_data import named_shares
from workbench.support.errors import UserError

CLASSES = ("ash", "oak", "elm")


def test_classes_without_a_share_have_what_is_left() -> None:
    np.testing.assert_allclose(named_shares({"ash": 0.5}, CLASSES, "k"), [0.5, 0.25, 0.25])
    np.testing.assert_allclose(
        named_shares({"elm": 0.1, "ash": 0.2, "oak": 0.7}, CLASSES, "k"), [0.2, 0.7, 0.1]
    )
    np.testing.assert_allclose(named_shares({}, CLASSES, "k"), 1 / 3)


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({"aks": 0.5}, "no class 'aks'"),
        ({"ash": 0.6, "oak": 0.6}, r"add up to 1\.2"),
        ({"ash": 0.3, "oak": 0.3, "elm": 0.1}, r"add up to 0\.7"),
    ],
)
def test_shares_that_fit_no_classes_are_refused(shares: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        named_shares(shares, CLASSES, "pseudo_label.prior")
    assert "pseudo_label.prior" in str(caught.value)
