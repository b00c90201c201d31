"""Outside the record: custom events, system events, metrics and presence."""
