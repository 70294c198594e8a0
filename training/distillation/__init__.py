"""What a student learns from teachers: soft targets, features, augmented views."""
