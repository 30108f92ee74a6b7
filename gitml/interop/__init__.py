"""Projects that were written for another tool run here after a change of their imports."""
