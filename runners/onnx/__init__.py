"""ONNX models: what a file says before the runtime sees it, how a session is built, and how it is warmed."""
