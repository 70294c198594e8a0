"""A model as something to hand on: project folders, the self-test, image formats, flashing, the serial harness."""
