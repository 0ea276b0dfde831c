"""A server that says what its model is like, takes every request for an inference, and never answers one.

python benchmarks/peers/hanging.py MODEL INPUT_WIDTH OUTPUT_WIDTH     prints where it listens on standard error
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hanging(BaseHTTPRequestHandler):
    """Answers questions about the model; an inference is only taken."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps(METADATA).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.connection.recv(1)  # until the client hangs up
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        return


if __name__ == "__main__":
    name, given, wanted = sys.argv[1:]
    METADATA = {
        "name": name,
        "platform": "none",
        "versions": ["1"],
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, int(given)]}],
        "outputs": [{"name": "probs", "datatype": "FP32", "shape": [-1, int(wanted)]}],
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hanging)
    server.daemon_threads = True
    sys.stderr.write(f"http://127.0.0.1:{server.server_port}\n")
    server.serve_forever()
