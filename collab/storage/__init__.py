"""Where documents, entities and events are kept."""
