"""Jobs: analyses that run in worker processes, in a queue that all servers of a twin share and that survives them.

`store` keeps them in `TWIN/jobs/jobs.sqlite`, `slots` claims them and watches over the worker processes, `runner` is
such a process, `results` are its answers, `routes` and `execution` are the addresses.
"""
