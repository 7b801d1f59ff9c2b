"""What goes wrong on a cluster."""

from gpt2xl import Gpt2xlError


class ClusterError(Gpt2xlError):
    """The cluster lacks what a job needs, or its machines keep dying."""
