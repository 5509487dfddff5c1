"""Photographs in a terminal: the protocol or the blocks to draw with, thumbnails kept on disk."""

from workbench.tui.pictures.blocks import Blocks, Pixels, draw, fit
from workbench.tui.pictures.image_protocol import Drawing, Protocol, choose_drawing, chosen_drawing

__all__ = ["Blocks", "Drawing", "Pixels", "Protocol", "choose_drawing", "chosen_drawing", "draw", "fit"]
