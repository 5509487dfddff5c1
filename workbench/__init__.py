"""petbench: a terminal workbench for transfer learning and pseudo-labelling on images."""

__version__ = "0.1.0"
