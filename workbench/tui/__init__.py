"""The Textual app: reads run directories and starts processes; never trains, never imports torch.

Everything on its screens has a command-line twin. `start.start` opens it; `app.py` is the table of contents.
"""
