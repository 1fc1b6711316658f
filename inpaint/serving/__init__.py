"""The service: a queue of fills done in a process of their own, and the REST API over it.

`inpaint.serving.app.serve` runs it; `inpaint.serving.jobs.JobQueue` is what a page in the same process uses,
so that both stand in one queue. Nothing is imported here, so that `inpaint --help` stays quick.
"""
