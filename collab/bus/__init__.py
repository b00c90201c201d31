"""Messages between the nodes of a cluster: hints that may be lost, never the truth."""
