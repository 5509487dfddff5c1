"""A message loop that outlives a fault in a handler: it is logged and shown, and the loop goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from textual.message import Message
from textual.message_pump import MessagePump

if TYPE_CHECKING:
    from workbench.tui.app import PetbenchApp


class Guarded(MessagePump):
    """Mixed into the app and its screens; Textual alone would end the app with a traceback."""

    async def _dispatch_message(self, message: Message) -> None:
        try:
            await super()._dispatch_message(message)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            cast("PetbenchApp", self.app).report_fault(error)
