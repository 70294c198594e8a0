"""Building: targets, their tools, and images compiled from emitted models."""
