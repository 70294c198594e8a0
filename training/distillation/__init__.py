"""Knowledge distillation: soft targets of teachers, and feature distillation."""
