"""The app's colours: Okabe and Ito's eight, which colour-blind eyes tell apart, on dark, light and black.

Source: Okabe & Ito 2002, "Color Universal Design"; Wong 2011, Nature Methods 8:441.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.theme import Theme

DEFAULT_THEME = "petbench-dark"


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours that drawings use, as `#rrggbb`; widgets style themselves in `.tcss` instead."""

    accent: str
    good: str
    warning: str
    bad: str
    muted: str
    text: str
    background: str
    series: tuple[str, ...]
    """Curves, in order of appearance; pair each with a dash or a marker of its own."""

    def series_colour(self, index: int) -> str:
        """The colour of the curve at `index`, going round."""
        return self.series[index % len(self.series)]


_DARK_SERIES = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#7f8fff", "#b0b0b0")
_LIGHT_SERIES = ("#0072b2", "#b87a00", "#007a59", "#a8477e", "#8a7f00", "#b34a00", "#4450c8", "#606060")

_PALETTES = {
    "petbench-dark": Palette(
        accent="#56b4e9",
        good="#2fc19a",
        warning="#e69f00",
        bad="#f0703c",
        muted="#8a93a0",
        text="#e2e6ea",
        background="#14171b",
        series=_DARK_SERIES,
    ),
    "petbench-light": Palette(
        accent="#0072b2",
        good="#00704f",
        warning="#8f5f00",
        bad="#b03a00",
        muted="#5c6670",
        text="#1b1f23",
        background="#fafaf7",
        series=_LIGHT_SERIES,
    ),
    "petbench-contrast": Palette(
        accent="#7fd0ff",
        good="#40f0c0",
        warning="#ffc040",
        bad="#ff8050",
        muted="#c0c0c0",
        text="#ffffff",
        background="#000000",
        series=_DARK_SERIES,
    ),
}


def palette_of(theme: str) -> Palette:
    """The drawing colours of a theme; another library's theme draws with the dark ones or the light ones."""
    if theme in _PALETTES:
        return _PALETTES[theme]
    return _PALETTES["petbench-light" if "light" in theme or "latte" in theme else "petbench-dark"]


def themes() -> list[Theme]:
    """The app's own themes, the default first."""
    return [_theme(name, colours) for name, colours in _PALETTES.items()]


def _theme(name: str, colours: Palette) -> Theme:
    dark = name != "petbench-light"
    return Theme(
        name=name,
        primary=colours.accent,
        secondary=colours.muted,
        accent=colours.accent,
        success=colours.good,
        warning=colours.warning,
        error=colours.bad,
        foreground=colours.text,
        background=colours.background,
        surface=_SURFACES[name][0],
        panel=_SURFACES[name][1],
        dark=dark,
        variables={
            "text-muted": colours.muted,
            "block-cursor-foreground": colours.background,
            "block-cursor-background": colours.accent,
            "block-cursor-text-style": "bold",
            "border": colours.accent,
            "border-blurred": colours.muted,
        },
    )


_SURFACES = {
    "petbench-dark": ("#1b1f24", "#262b32"),
    "petbench-light": ("#f0f0ea", "#e2e3dc"),
    "petbench-contrast": ("#000000", "#202020"),
}
