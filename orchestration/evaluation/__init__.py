"""The engine: runs a prompt flow's rows, stores what was paid for, grades the answers.

`engine.evaluate`, `engine.check` and `engine.run_row` are the door; `job.EvaluationJob` is what they are asked.
"""
