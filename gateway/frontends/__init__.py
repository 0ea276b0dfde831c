"""Doors: bytes become requests, answers become bytes; the only place that knows HTTP and gRPC."""
