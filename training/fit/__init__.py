"""Training of one network: batches, augmentation, log-mel, optimiser, logs."""
