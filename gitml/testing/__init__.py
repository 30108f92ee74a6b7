"""What tests of gitml, of its plugins and of projects that use it may build on; all of it public.

``gitml.testing.sealed`` is a pytest plugin (``pytest_plugins = ["gitml.testing.sealed"]``) with a
world in which nothing of the user's own machine shows, a git repository, and a gitml project.
"""
