"""What applications do with entities: read and write them, subscribe, emit events, see who is there."""
