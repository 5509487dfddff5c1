"""Outside text is harmless after `clean`, and plain text is left alone."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from workbench.support.clean import clean

BIDI = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}


@given(st.text(st.characters()))
def test_no_control_or_bidi_character_survives(text: str) -> None:
    for character in clean(text):
        assert unicodedata.category(character) not in {"Cc", "Cs", "Zl", "Zp"}
        assert unicodedata.bidirectional(character) not in BIDI


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_printable_text_is_unchanged(text: str) -> None:
    assert clean(text) == text


@given(st.text(st.characters()))
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@given(st.text(st.characters()), st.integers(1, 50))
def test_the_limit_holds_and_is_shown(text: str, limit: int) -> None:
    cut = clean(text, limit)
    assert len(cut) <= limit
    assert cut == clean(text) or cut.endswith("…")


def test_harmful_characters_stay_readable() -> None:
    assert clean("a\x1b[31mb\tc\nd\u202ee\udcff") == r"a\x1b[31mb\tc\nd\u202ee\udcff"
    assert clean("[bold]:smile:") == "[bold]:smile:"
    assert clean(12) == "12"
