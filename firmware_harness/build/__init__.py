"""Toolchains, targets and images: from emitted C to a linked program."""
