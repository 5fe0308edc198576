"""What programs that nobody here wrote make of the same kernel."""
