"""What each part of the screen says: pure functions from the fleet's state to styled text."""
