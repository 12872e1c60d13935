"""Uploads in, receipts out."""
