"""The user's config file: defaults and presets of options."""
