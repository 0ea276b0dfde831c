"""The operator's side over HTTP: the same verbs as on the command line, with roles and an audit log."""
