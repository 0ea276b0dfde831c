"""From a public model name to everything that stands behind it."""
