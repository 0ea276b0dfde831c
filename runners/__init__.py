"""How a model is run: tensors in, tensors out, by one deadline."""
