"""What the engine has that readers have not, as somebody looked at it."""
