"""A finished run's model for other programs: in their formats, and proved to answer as petbench does."""

from workbench.export.bundle import Bundle, Checked, export_run
from workbench.export.formats import FORMATS, Format

__all__ = ["FORMATS", "Bundle", "Checked", "Format", "export_run"]
