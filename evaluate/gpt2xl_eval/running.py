"""Score the continuations of a task."""

from gpt2xl import Model
from gpt2xl_eval.task import Outcome, Task


def evaluate(model: Model, task: Task, *, rows: int = 16) -> Outcome:
    """Measure ``task`` with ``model``."""
    scores = model.score_continuations(task.continuations, top=task.top, rows=rows)
    measured, tokens = [], 0
    for index, score in enumerate(scores):
        measured.append(task.measure(index, score))
        tokens += len(score.logprobs)
    counts = {"continuations": len(measured), "tokens": tokens}
    return Outcome(task.name, task.figures(measured), task.settings, counts)
