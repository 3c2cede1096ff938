"""Queue services: an input queue and an output queue (the sink) in front of a service's processor.

`store` decides which frame is sent to which consumer, without I/O. `queue` notifies listeners of changes of a store.
`wire` parses requests and renders responses, `operations` handles requests, `watch` streams frames to a consumer, and
`worker` computes frames. All instances of a queue service share one store; whether the real service does so is unknown.
"""
