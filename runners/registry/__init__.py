"""Where models come from: a reference as an operator writes it, and the file behind it."""
