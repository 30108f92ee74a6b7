"""Push, pull and fetch: records through the git remote, bytes through a remote for bytes."""
