"""Programs that run in a process, and often a Python, of their own; nothing imports them."""
