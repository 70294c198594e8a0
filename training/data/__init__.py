"""Folders in the layout of TAU Urban Acoustic Scenes 2022 Mobile: reading, checking, decoding, writing."""
