"""The application API over HTTP."""
