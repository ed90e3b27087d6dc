"""The training program; nothing outside it imports it."""
