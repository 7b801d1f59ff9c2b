"""Chat, where the user gives a template that makes a prompt of messages."""
