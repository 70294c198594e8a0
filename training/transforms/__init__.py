"""From waveforms to network inputs: log-mel in PyTorch, augmentation, and the views of an epoch."""
