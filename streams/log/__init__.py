"""The durable log: one port, several backends."""
