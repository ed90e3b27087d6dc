"""Picture files and what they hold."""
