"""The stages after the log, and what drives them."""
