"""A strategy of either kind, a backbone and a data set, from outside petbench."""
