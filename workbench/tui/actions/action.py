"""What an action is: told once, read by bindings, footer, palette, help and docs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Action:
    """Something a person can do on a screen.

    The screen of `scope` has a method `do_NAME` for it, where NAME is the id's last part.
    """

    id: str
    """`runs.archive`: the scope and the method's name."""
    key: str
    """Textual's key names, several parted by commas; the first is the one that is shown."""
    label: str
    """One or two words for the footer and the palette."""
    help: str
    """One sentence: what it does, and what it does not."""
    twin: str = ""
    """The same on the command line, {run} standing for what is selected; empty: a matter of the screen."""
    footer: bool = False
    """Whether the footer shows it; at most five of a scope, `?` is the sixth."""

    @property
    def scope(self) -> str:
        """The screen it belongs to; `everywhere` for the app's own."""
        return self.id.partition(".")[0]

    @property
    def name(self) -> str:
        """The method's name without `do_`."""
        return self.id.partition(".")[2]

    @property
    def shown_key(self) -> str:
        """The first key as a person reads it: `space`, `^s`, `?`."""
        return readable_key(self.key.partition(",")[0])


_SHOWN = {
    "question_mark": "?",
    "slash": "/",
    "full_stop": ".",
    "comma": ",",
    "colon": ":",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "plus": "+",
    "equals_sign": "=",
    "minus": "-",
    "escape": "esc",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "asterisk": "*",
    "number_sign": "#",
}


def readable_key(key: str) -> str:
    """Textual's key name as keyboards print it: `ctrl+s` -> `^s`, `question_mark` -> `?`."""
    if key.startswith("ctrl+"):
        return f"^{readable_key(key.removeprefix('ctrl+'))}"
    return _SHOWN.get(key, key)
