"""The words every runner speaks: tensor, signature, request, endpoint, and the ways a call can fail."""
