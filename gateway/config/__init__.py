"""What operators write: documents, parsed, checked and compiled."""
