"""OpenTelemetry: spans of what the server does, and where they are sent. Nothing else imports its packages."""
