"""The paper's experiments: its numbers, ours beside them, as tables and figures. No torch here."""
