"""Durable execution you embed: workflows as ordinary ``async def`` functions that survive crashes and restarts."""

__version__ = "0.1.0"
