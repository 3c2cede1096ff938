"""The client of queue services: put, get and watch (asynchronous inference)."""
