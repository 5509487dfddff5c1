"""Text from outside made harmless for a terminal: no control, escape or bidi characters, one line."""

from __future__ import annotations

import re
import unicodedata
from shlex import quote

# C0, DEL and C1 controls; bidi marks, embeddings, overrides and isolates (Trojan Source, CVE-2021-42574);
# line and paragraph separators; zero-width characters; lone surrogates from undecodable file names.
_HARMFUL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufff9-\ufffb]"
)


def clean(text: object, limit: int = 0) -> str:
    r"""Return `text` with every harmful character shown as an escape such as `\x1b` or `\u202e`.

    The result is plain text: callers must still hand it to rich or textual as `Text`, never as markup.

    Args:
        text: anything with a `str`.
        limit: longest result in characters, cut with an ellipsis; 0 for no limit.
    """
    harmless = _HARMFUL.sub(_escape, str(text))
    if limit and len(harmless) > limit:
        return harmless[: limit - 1] + "…"
    return harmless


def clean_lines(text: object) -> str:
    """`text` cleaned, its line feeds kept."""
    return "\n".join(clean(line) for line in str(text).split("\n"))


def as_word(text: object) -> str:
    """`text` cleaned and quoted as one word of a command for a person to type."""
    return quote(clean(text))


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return {9: r"\t", 10: r"\n", 13: r"\r"}.get(code, f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


_LIMIT = 40


def slug(name: str) -> str:
    """ASCII letters, digits, `_` and `-`: `Résumé [1]/../x` -> `Resume-1-x`; `run` when nothing is left."""
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    safe = re.sub(r"[^A-Za-z0-9_]+", "-", ascii_only).strip("-")[:_LIMIT].strip("-")
    return safe or "run"
