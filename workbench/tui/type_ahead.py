"""Keys typed faster than the app acts on them: each waits until the one before has had its effect.

Textual hands every key at once to the widget that has the focus; a key that the widget does not want comes
back to the app, behind the keys that were typed meanwhile. Those of `/lite` then never reach the line that
`/` opens, which shows right after the start and whenever the machine is busy.
"""

from __future__ import annotations

from collections import deque

from textual import events
from textual.app import App
from textual.message_pump import MessagePump

_LONGEST_SECONDS = 0.5
"""A widget that goes while a key is on its way through it never passes it on; then the next key is let in."""


class TypeAhead(App[None]):
    """Mixed into the app: lets one key at a time through the widgets."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting_keys: deque[events.Key] = deque()
        self._key_under_way: events.Key | None = None

    async def on_event(self, event: events.Event) -> None:
        """Hold back a key that was typed while another is under way."""
        if not isinstance(event, events.Key) or event.is_forwarded:
            await super().on_event(event)
        elif self._key_under_way is not None:
            self._waiting_keys.append(event)
        else:
            await self._let_in(event)

    async def _let_in(self, key: events.Key) -> None:
        self._key_under_way = key
        target: MessagePump = self.focused or self.screen
        self.set_timer(_LONGEST_SECONDS, lambda: self.call_later(self._arrived, key))
        try:
            await super().on_event(key)
        finally:
            self._follow(key, target)

    def _follow(self, key: events.Key, node: MessagePump | None) -> None:
        """Come back behind the key, which bubbles from the focused widget up to the app."""
        while node is not None and node is not self:
            parent = node._parent
            if node.call_later(self._follow, key, parent):
                return
            node = parent  # it is closing and takes no more messages
        self.call_later(self._arrived, key)

    async def _arrived(self, key: events.Key) -> None:
        if self._key_under_way is not key:
            return  # said already, by the timer or by the widgets
        self._key_under_way = None
        if self._waiting_keys:
            await self._let_in(self._waiting_keys.popleft())
