"""Models layer by layer: one typed record of any model file, its table and its picture."""
