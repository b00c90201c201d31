"""Message framing of each protocol: bytes to messages and back, nothing else."""
