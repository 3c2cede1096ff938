"""Queue services: an input queue and an output queue (the sink) in front of a service's processor.

`store` decides which frame goes to which consumer; it is pure. `queue` notifies listeners of changes of a store.
`wire` reads requests and writes answers, `operations` answers requests, `watch` delivers frames as they come, `worker`
computes. All instances of a queue service share one store; whether the real service does so is not known.
"""
