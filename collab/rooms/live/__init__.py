"""A live room and its parts. Nothing here waits: no module has an ``async def`` or an ``await``."""
