"""Which names of classes a person reads as one."""

from __future__ import annotations

import unicodedata

_LATIN = str.maketrans(
    # Cyrillic, then Greek, by code point since they cannot be told apart by eye.
    "\u0430\u0432\u0441\u0501\u0435\u043d\u0456\u0458\u043a\u043c\u043e\u0440\u051b\u0455\u0442\u0443\u0445\u051d"
    "\u03b1\u03b2\u03f2\u03b5\u03b7\u03b9\u03f3\u03ba\u03bc\u03bf\u03c1\u03c4\u03c5\u03bd\u03c7\u03b3\u03b6",
    "abcdehijkmopqstyxwabcehijkmoptuvxyz",
)
"""Letters that look like Latin ones, small or as capitals, by the confusables of Unicode TR39. Keys have no
case, so a letter has one row here: Greek nu is v, not N. Two letters of one script never share one, so names
within a script stay as different as they are."""


def class_key(name: str) -> str:
    r"""Equal for names that a person reads as one class: `Pug`, `pug `, full-width `Ｐug`, `\u0440ug`."""
    compatible = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    latin = unicodedata.normalize("NFD", compatible).translate(_LATIN)
    compatible = unicodedata.normalize("NFKC", latin)
    visible = "".join(letter for letter in compatible if unicodedata.category(letter) != "Cf")
    return " ".join(visible.split())
