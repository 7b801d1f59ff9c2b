"""gpt2xl on the machines of a Ray cluster: texts, scores and features of datasets, and batches that survive what dies."""

from gpt2xl_ray.datasets import Evaluation, evaluate, features, generate, score
from gpt2xl_ray.errors import ClusterError
from gpt2xl_ray.jobs.job import run_job
from gpt2xl_ray.jobs.settings import JobProgress, JobSettings, JobSummary
from gpt2xl_ray.resources import Actors

__all__ = [
    "Actors",
    "ClusterError",
    "Evaluation",
    "JobProgress",
    "JobSettings",
    "JobSummary",
    "evaluate",
    "features",
    "generate",
    "run_job",
    "score",
]
