"""Bodies of calls: requests, responses, their tensors, and the signature of a request."""
