"""Run images on this machine or in an emulator, and compare their output."""
