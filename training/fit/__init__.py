"""Training of one network: batches, optimiser, logs, checkpoints, throughput."""
