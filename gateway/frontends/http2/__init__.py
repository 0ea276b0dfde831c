"""HTTP/2 as a server of gRPC needs it, without a socket: bytes in, calls and bytes out, time passed in."""
