"""The working tree: data beside its pointers, and what differs between the two."""
