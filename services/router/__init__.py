"""The light ASGI application that serves workflow runs and talks to the tasks."""
