"""The supervisor and its worker."""
