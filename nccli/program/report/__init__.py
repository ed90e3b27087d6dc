"""What people and programs read: tables and progress on stderr, JSON lines on stdout."""
