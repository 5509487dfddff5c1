"""Photographs in a terminal: the protocol to draw with, half-cells, thumbnails kept on disk."""

from workbench.tui.pictures.half_cells import Pixels, fit, half_cells
from workbench.tui.pictures.protocol import Protocol, choose_protocol, chosen_protocol

__all__ = ["Pixels", "Protocol", "choose_protocol", "chosen_protocol", "fit", "half_cells"]
