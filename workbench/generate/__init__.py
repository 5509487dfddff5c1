"""More images of a data set's classes, painted by a text-to-image pipeline, and none that is a measured one.

`plan` says without torch what there is to be; `make` loads, tunes, paints, compares and keeps.
"""

from workbench.generate.image_plan import Class, Plan, Wish, make_plan

__all__ = ["Class", "Plan", "Wish", "make_plan"]
