"""What may be wrong with a server: its settings, its record, its clock, and what stands in front of it."""
