"""HTTP: health, metrics, pages, documents, and the application API."""
