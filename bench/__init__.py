"""Benchmarks and chaos; they drive the product from outside."""
