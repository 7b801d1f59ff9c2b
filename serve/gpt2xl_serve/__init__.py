"""An HTTP server with OpenAI's protocol for base models, and a page to play with a model."""
