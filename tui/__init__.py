"""The terminal UI of haman."""
