"""From a float network to the integer graph."""
