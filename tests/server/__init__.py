"""The gRPC server, with the official client and raw gRPC."""
