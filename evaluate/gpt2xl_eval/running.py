"""Score the continuations of a task."""

from collections.abc import Callable, Sequence

from gpt2xl import Model
from gpt2xl_eval.task import Measured, Outcome, Task


def evaluate(
    model: Model,
    task: Task,
    *,
    rows: int = 16,
    done: Sequence[Measured] = (),
    keep: Callable[[Measured], object] | None = None,
) -> Outcome:
    """Measure ``task`` with ``model``.

    Args:
        model: what to measure.
        task: of `gpt2xl_eval.tasks.make_task`.
        rows: continuations that share each step.
        done: what an earlier run has measured of the first continuations; they are not scored again.
        keep: called with what is measured of each further continuation, in their order.

    Raises:
        RequestError: the data set has no continuation.
    """
    continuations = task.continuations
    measured = list(done)
    rest = (continuations[index] for index in range(len(measured), len(continuations)))
    scores = model.score_continuations(rest, top=task.top, rows=rows)
    for index, score in enumerate(scores, len(measured)):
        measured.append(task.measure(index, score))
        if keep:
            keep(measured[-1])
    tokens = sum(len(each.ids) for each in continuations)
    counts = {"continuations": len(measured), "tokens": tokens}
    return Outcome(task.name, task.figures(measured), task.settings, counts)
