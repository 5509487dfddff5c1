"""Names that were there before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.support import seen_names
from workbench.support.seen_names import SeenNames


@given(st.lists(st.text(), max_size=60), st.text())
def test_a_name_is_new_once(names: list[str], other: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seen_names, "_MERGED_AT", 4)  # as if there were very many
        seen, known = SeenNames(), set[str]()
        for name in names:
            assert seen.add(name) == (name not in known)
            known.add(name)
            assert name in seen
        assert len(seen) == len(known)
        assert (other in seen) == (other in known)
