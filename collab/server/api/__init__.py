"""HTTP under ``/api/v1``: the operations of the application protocol for those who speak no WebSocket."""
