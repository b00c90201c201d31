"""The server: application, sockets, HTTP, settings and processes."""
