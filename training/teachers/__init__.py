"""Teachers of a recipe, and how their logits are combined."""
