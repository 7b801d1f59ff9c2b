"""The version of all three packages, which are released as one."""

__version__ = "0.1.0"
