"""Charts, heat maps and bars as lines of cells: functions from values to `Strip`s; no widget, no file."""
