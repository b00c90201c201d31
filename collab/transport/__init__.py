"""A WebSocket server: frames, handshake, compression, and a launcher. It imports nothing else of collab."""
