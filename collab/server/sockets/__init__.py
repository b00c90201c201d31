"""WebSocket endpoints, one module per protocol."""
