"""Sub-commands that work on models; each imports what it needs when it runs."""
