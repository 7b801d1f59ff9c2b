"""Requests for texts and their answers, in the shapes of OpenAI's completions."""
