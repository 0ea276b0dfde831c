"""What should happen to a request: pure values, no clock, no chance, no input or output."""
