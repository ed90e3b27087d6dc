"""What goes into a file of each kind, and comes out again."""
