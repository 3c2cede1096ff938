"""The commands `eas-tw perf`, which measures a service under load, and `eas-tw perf compare`.

`plan` contains the settings and `schedule` the times of calls. `loops` starts the calls, and `step` and `perf_run` run
a plan. `recorder` and `instances` count, `figures` computes the results, and `report` makes the JSON document from
which all output is made. Only `command` and `sending` use the client.
"""
