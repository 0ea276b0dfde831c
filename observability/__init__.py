"""What happened: wide events, metrics and traces. It may be lost; it may never slow or fail an answer."""
