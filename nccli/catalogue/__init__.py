"""Models by name and number, and how they are loaded."""
