"""Images run on this machine or in an emulator, and their output compared."""
