"""What the server answers at each path; each module has ``routes``."""
