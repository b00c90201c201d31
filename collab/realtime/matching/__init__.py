"""Find the subscriptions and queries that an event of the record affects."""
