"""What git's hooks do for gitml: checks before a commit and a push, data that follows pointers."""
