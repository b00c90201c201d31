"""What applications may ask of a collection. The meaning is in docs/protocol.md; nothing here waits."""
