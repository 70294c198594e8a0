"""Sub-commands that make data and train and evaluate networks."""
