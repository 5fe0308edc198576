"""Events to people and programs."""
