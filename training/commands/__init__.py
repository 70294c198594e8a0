"""Sub-commands that create data, train and evaluate networks."""
