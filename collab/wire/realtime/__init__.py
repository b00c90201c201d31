"""The application protocol: its messages, and the values in them."""
