"""Kafka as the durable log between processes."""
