"""Network architectures and their configurations."""
