"""What is said around the form: above, how the draft stands; below, what the line under the cursor means."""

from __future__ import annotations

from rich.text import Text
from textual.app import RenderResult
from textual.widget import Widget

from workbench.support.clean import clean
from workbench.tui.screens.compose.draft import Draft
from workbench.tui.screens.compose.form_lines import FormState
from workbench.tui.screens.compose.knob_fields import GROUPS, STRATEGY, FieldKind, FormField, strategy_story
from workbench.tui.screens.compose.networks import Network
from workbench.tui.themes import Palette, palette_of

_GROUP_HELP = {
    "": "What the run is called and which random numbers it draws.",
    "data": "Which images, what is predicted of them, how they are divided.",
    "model": "The network: a pretrained backbone with a fresh head.",
    "finetune": "Which layer groups learn, and what their norms do.",
    "augmentation": "Random changes to training images, drawn anew for every image and epoch. v shows them.",
    "optimizer": "How the weights move.",
    "training": "How long and in what arithmetic.",
    "pseudo_label": "Hide most labels, train a teacher on the rest, and a student on what the teacher says.",
}
# What the values of a switch mean, where its help says it too shortly to choose by.
_VALUE_HELP = {
    ("finetune.batch_norm", "all"): "every group's norms adapt to the new images; the paper's choice",
    ("finetune.batch_norm", "tuned"): "norms adapt where the layers learn; the rest of the trunk stays fixed",
    ("finetune.batch_norm", "frozen"): "no norm adapts: safest with small batches, and fastest",
    ("finetune.batch_norm_statistics", "same"): "statistics update where scale and shift learn",
    ("finetune.batch_norm_statistics", "all"): "every group's mean and variance follow the new images",
    ("finetune.batch_norm_statistics", "tuned"): "mean and variance follow the new images where layers learn",
    (
        "finetune.batch_norm_statistics",
        "frozen",
    ): "evaluation and training use the pretrained mean and variance",
    ("finetune.layer_norm", "all"): "every group's norms learn, also where the weights stay as pretrained",
    ("finetune.layer_norm", "tuned"): "norms learn where the layers learn",
    ("finetune.layer_norm", "frozen"): "no norm learns",
}


class HeadLine(Widget):
    """Where the draft came from, whether it is saved, and whether it is valid."""

    def __init__(self) -> None:
        super().__init__(id="head")
        self._draft: Draft | None = None
        self._on_slurm = False

    def show(self, draft: Draft, *, on_slurm: bool) -> None:
        """Tell of a draft, as its backbone checked it, and who would launch it."""
        self._draft, self._on_slurm = draft, on_slurm
        self.refresh()

    def render(self) -> RenderResult:
        draft, colours = self._draft, palette_of(self.app.theme)
        if draft is None:
            return ""
        left = Text("recipe ", style=colours.muted)
        left.append(clean(draft.origin, 60), style=f"bold {colours.text}")
        if draft.is_changed:
            left.append(" *" if draft.path else "  not saved", style=colours.warning)
        if self._on_slurm:
            left.append("  to Slurm", style=colours.accent)
        if draft.broken is not None:
            right = Text(f"✗ no TOML, line {draft.broken.line}", style=colours.bad)
        elif draft.problems:
            count = len(draft.problems)
            right = Text(f"✗ {count} problem{'s' if count > 1 else ''}: n goes there", style=colours.bad)
        else:
            right = Text("✓ valid", style=colours.good)
        space = max(2, self.content_size.width - left.cell_len - right.cell_len)
        return Text.assemble(left, " " * space, right, no_wrap=True)


class Explanation(Widget):
    """Help for the line under the form's cursor; while the text is no TOML, why it is none."""

    def __init__(self) -> None:
        super().__init__(id="explain")
        self._state: FormState | None = None
        self._line = ""
        self._field: FormField | None = None

    def show(self, state: FormState, id: str, field: FormField | None) -> None:
        """Tell of a line of the form, by its id, and the field that it belongs to."""
        self._state, self._line, self._field = state, id, field
        self.refresh()

    def render(self) -> RenderResult:
        state, colours = self._state, palette_of(self.app.theme)
        if state is None:
            return ""
        broken = state.draft.broken
        if broken is None:
            return explain_line(state, self._line, self._field, colours)
        text = Text(f"{broken.where}: {broken.what}", style=colours.bad)
        return text.append("\nThe form shows the last text that was TOML; nothing of this one is lost.")

    @property
    def sentence(self) -> str:
        """The whole help of the line in one paragraph, and what the keys do there."""
        if self._state is None:
            return ""
        told = explain_line(self._state, self._line, self._field, palette_of(self.app.theme)).plain
        return f"{told.replace(chr(10), ' ')}. {_key_hint(self._line, self._field)}"


def explain_line(state: FormState, id: str, field: FormField | None, colours: Palette) -> Text:
    """Help for a line of the form; the first words are the line's name."""
    if id.startswith("group:"):
        group = next(one for one in GROUPS if id == f"group:{one.name}")
        text = Text(f"{group.title}. ", style=f"bold {colours.accent}")
        return text.append(_GROUP_HELP[group.name], style=f"not bold {colours.text}")
    if field is None:
        return Text()
    if id.startswith("layer:"):
        return _layer(id.removeprefix("layer:"), state.network, colours)
    knob = field.knob
    text = Text(f"{field.key}  ", style=f"bold {colours.accent}")
    plain = f"not bold {colours.text}"
    text.append(f"{knob.help}.", style=plain)
    value = state.draft.look()[field.key]
    meaning = _value_help(field.key, value) if isinstance(value, str) else ""
    if meaning:
        text.append(f" Now {value}: {meaning}.", style=plain)
    facts = [f"allowed: {knob.allowed}"]
    if knob.required:
        facts.append("needed")
    else:
        facts.append(f"default: {field.default or knob.unset or 'unset'}")
    if knob.source:
        facts.append(knob.source)
    text.append(f"\n{'; '.join(facts)}", style=f"not bold {colours.muted}")
    return text


def _value_help(key: str, value: str) -> str:
    return strategy_story(value) if key == STRATEGY else _VALUE_HELP.get((key, value), "")


def _key_hint(id: str, field: FormField | None) -> str:
    """What the keys do on a line."""
    if id.startswith("group:"):
        return "enter opens or closes the group; right opens, left closes"
    if id.startswith("layer:"):
        return "space lets the group learn or not"
    if field is None:
        return ""
    if field.kind is FieldKind.CHOICE:
        return "left and right go through the values, enter lists them; delete puts the default back"
    if field.choices and field.kind is FieldKind.NAMES:
        return "left and right go through the words; enter types a list; delete puts the default back"
    return "enter types; delete puts the default back"


def _layer(name: str, network: Network | None, colours: Palette) -> Text:
    group = next((one for one in network.groups if one.name == name), None) if network is not None else None
    text = Text(f"{clean(name)}  ", style=f"bold {colours.accent}")
    if group is None:
        return text
    kinds = {"batch": group.batch_norms, "layer": group.layer_norms}
    norms = ", ".join(f"{count} {kind} norms" for kind, count in kinds.items() if count) or "no norm"
    said = (
        f"{group.parameters:,} parameters, {norms}. Ticked, its weights learn; else they stay as pretrained."
    )
    return text.append(said, style=f"not bold {colours.text}")
