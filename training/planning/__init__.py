"""What a recipe costs before it runs, and sizes of students that fill a budget."""
