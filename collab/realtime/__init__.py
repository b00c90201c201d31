"""The application protocol: read and write entities, subscribe, custom events, presence."""
