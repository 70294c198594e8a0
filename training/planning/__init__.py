"""Cost of a recipe before it runs, and sizes of students that fill a budget."""
