"""Synthetic acoustic scenes."""
