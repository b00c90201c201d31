"""The subscriptions of one session, one module per kind."""
