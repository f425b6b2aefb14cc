"""The Server header of every answer, also of those that aiohttp makes itself for a request that is no HTTP."""

from __future__ import annotations

from typing import Final

from aiohttp import web_response

SERVER: Final = "pullgate"


def hide_versions() -> None:
    """Send `Server: pullgate` in place of the versions of Python and aiohttp, from now on in this process.

    aiohttp has no setting for it, and answers a broken request before our application or hooks see it.
    """
    web_response.SERVER_SOFTWARE = SERVER  # type: ignore[attr-defined]
