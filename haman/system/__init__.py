"""One file per kernel facility."""
