"""Inspect's search for label issues: a helper process judges the labelled images, then they are a source."""

from __future__ import annotations

from textual import work

from workbench.runs.sources import IssueSource
from workbench.tui.places import InspectPlace
from workbench.tui.screens.inspect.filtering import Filtering
from workbench.tui.screens.inspect.helped import HelperFailed


class Finding(Filtering):
    """Choosing label issues that nobody has looked for starts the search; the screen goes on meanwhile."""

    def __init__(self, place: InspectPlace) -> None:
        super().__init__(place)
        self._is_searching = False

    def _go(self, key: str) -> None:
        """Show another source, or have it found first."""
        if key != IssueSource().key or IssueSource() in self._material().sources:
            super()._go(key)
        elif not self._is_searching:
            self._is_searching = True
            self.notify("Judging the labels: a process of its own, a minute or more. They are shown then.")
            self._find_issues()

    @work(group="issues", exit_on_error=False)
    async def _find_issues(self) -> None:
        assert self.helped is not None
        try:
            await self.helped.label_issues()
        except HelperFailed as error:
            self.notify(str(error), title="No label issues", severity="error", markup=False)
            return
        finally:
            self._is_searching = False
        super()._go(IssueSource().key)
