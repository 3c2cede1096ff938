"""Bodies of requests and responses, their tensors, and the signature of a request."""
