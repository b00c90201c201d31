"""Several nodes that serve one record: who owns a room, and how requests reach its owner."""
