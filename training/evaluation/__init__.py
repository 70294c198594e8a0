"""Accuracy of a checkpoint or a bundle on labelled clips."""
