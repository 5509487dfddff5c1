"""All that a petbench process loads until it has trained a run: a fork server does it once for all."""

from __future__ import annotations

import gc
import importlib

from drills.processes import prepare

prepare()
for name in (
    "pytest",  # __main__ of the process that asks, which a child looks at
    "tests.train.processes",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "lxml.etree",
    "rich.progress",
    "workbench.dataset.folder",
    "workbench.dataset.sample.scene",
    "workbench.dataset.table",
    "workbench.model.families.lite",
    "workbench.model.families.torchvision_nets",
    "workbench.train.worker",
):
    importlib.import_module(name)
gc.freeze()  # else a collection in a child writes on, and so copies, every page that it shares
